package models

import (
	"encoding/json"
	"sort"
)

// File is one file of a source, an upload or a build's output, by content.
type File struct {
	Path   string `json:"path"`
	Digest string `json:"sha256"`
	Size   int64  `json:"size"`
	// Mode is 0644 or 0755 (as decimal in JSON); 0 means 0644.
	Mode uint32 `json:"mode,omitempty"`
}

// Message is one entry of the conversation that led to the files.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// FileSet is a list of files with the digest of the history messages that go
// with it, stored as one JSON blob. A source manifest is one, a request's files
// are one, and a build's output is one.
type FileSet struct {
	Version int    `json:"version"`
	Files   []File `json:"files"`
	// Replace says, in a request, that Files are the whole source rather than
	// an overlay on the project's latest.
	Replace bool `json:"replace,omitempty"`
	// HistoryDigest names a blob holding a JSON list of Message; "" for none.
	HistoryDigest string `json:"history,omitempty"`
	// Serve says, in a build's output, how its assets are to be served.
	Serve *ServeSettings `json:"serve,omitempty"`
	// Worker is, in a build's output, the code that answers what Files do not;
	// nil for plain sites. Its modules are blobs beside Files, not among them.
	Worker *WorkerBundle `json:"worker,omitempty"`
}

// Digests names every blob the set consists of.
func (s FileSet) Digests() []string {
	all := make([]string, 0, len(s.Files))
	for _, f := range s.Files {
		all = append(all, f.Digest)
	}
	return append(all, s.Worker.Digests()...)
}

// ServeSettings say how the assets of a release are served; the names and
// values are those of Cloudflare's Workers Static Assets.
type ServeSettings struct {
	HTMLHandling     string `json:"html_handling,omitempty"`
	NotFoundHandling string `json:"not_found_handling,omitempty"`
	Framework        string `json:"framework,omitempty"`
}

// Encode gives the canonical JSON of the set: files sorted by path, so that
// equal sets have equal digests.
func (s FileSet) Encode() ([]byte, error) {
	s.Version = 1
	s.Files = append([]File{}, s.Files...)
	sort.Slice(s.Files, func(i, j int) bool { return s.Files[i].Path < s.Files[j].Path })
	for i := range s.Files {
		if s.Files[i].Mode == 0 {
			s.Files[i].Mode = 0o644
		}
	}
	return json.Marshal(s)
}

// DecodeFileSet reads what Encode wrote; a set of another version or a broken
// one is CodeStorage, because only we write them.
func DecodeFileSet(data []byte) (FileSet, error) {
	var s FileSet
	if err := json.Unmarshal(data, &s); err != nil {
		return s, Wrap(CodeStorage, err, "A stored file list is damaged.")
	}
	if s.Version != 1 {
		return s, Errorf(CodeStorage, "A stored file list has version %d; this release of Slipway reads version 1.", s.Version)
	}
	return s, nil
}

// Overlay puts the files of over on top of base: a path in both is over's.
func Overlay(base, over []File) []File {
	byPath := make(map[string]int, len(base)+len(over))
	merged := make([]File, 0, len(base)+len(over))
	for _, list := range [][]File{base, over} {
		for _, f := range list {
			if at, ok := byPath[f.Path]; ok {
				merged[at] = f
				continue
			}
			byPath[f.Path] = len(merged)
			merged = append(merged, f)
		}
	}
	return merged
}

// Bytes is the sum of the sizes of the files.
func (s FileSet) Bytes() int64 {
	var total int64
	for _, f := range s.Files {
		total += f.Size
	}
	return total
}
