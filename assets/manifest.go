package assets

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/slipwayhq/slipway/models"
)

const (
	// ManifestVersion is the format this package writes and the only one it reads.
	ManifestVersion = 1
	// MaxManifestFiles bounds what a manifest may list, so that a damaged one
	// cannot fill a dispatcher's memory.
	MaxManifestFiles = 100_000
	// MaxFilePath bounds one path, in bytes.
	MaxFilePath = 1024
)

// Manifest is the immutable list of a release's files and how they answer. It
// is stored as JSON under its own digest; the same content gives the same bytes.
type Manifest struct {
	Version int    `json:"version"`
	Config  Config `json:"config"`
	// Files maps a decoded path with a leading slash ("/index.html") to its bytes.
	Files     map[string]File `json:"files"`
	Headers   []HeaderRule    `json:"headers,omitempty"`
	Redirects []Redirect      `json:"redirects,omitempty"`
}

// File is one file of a release.
type File struct {
	// Digest is the SHA-256 of the bytes, 64 lowercase hex digits.
	Digest string `json:"digest"`
	// Size is in bytes.
	Size        int64  `json:"size"`
	ContentType string `json:"contentType,omitempty"`
	// Encodings are the precompressed variants: "br" and "gzip".
	Encodings map[string]Encoded `json:"encodings,omitempty"`
}

// Encoded is one precompressed variant of a file.
type Encoded struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

// IsControlFile says that a file configures the site and is never served. Only
// the ones at the root of the output count, as on Cloudflare.
func IsControlFile(path string) bool {
	return path == "/_headers" || path == "/_redirects" || path == "/.assetsignore"
}

// ParseManifest reads what Encode wrote. It is strict: an unknown field,
// another version, a path or digest out of shape, or bytes after the end are
// refused with CodeReleaseInvalid, since a release that is misread is worse
// than one that is not served.
func ParseManifest(data []byte) (*Manifest, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var manifest Manifest
	if err := decoder.Decode(&manifest); err != nil {
		return nil, models.Wrap(models.CodeReleaseInvalid, err, "The release's manifest cannot be read; deploy again to write a new one")
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, models.Errorf(models.CodeReleaseInvalid, "The release's manifest has bytes after its end; deploy again to write a new one")
	}
	if err := manifest.validate(); err != nil {
		return nil, err
	}
	return &manifest, nil
}

// Encode gives the bytes to store. Equal manifests give equal bytes.
func (m *Manifest) Encode() ([]byte, error) {
	return json.Marshal(m)
}

// Digests lists every blob the manifest names, variants included, each once.
func (m *Manifest) Digests() []string {
	seen := make(map[string]bool, len(m.Files))
	var digests []string
	add := func(digest string) {
		if !seen[digest] {
			seen[digest] = true
			digests = append(digests, digest)
		}
	}
	for _, file := range m.Files {
		add(file.Digest)
		for _, encoded := range file.Encodings {
			add(encoded.Digest)
		}
	}
	return digests
}

func (m *Manifest) validate() error {
	if m.Version != ManifestVersion {
		return models.Errorf(models.CodeReleaseInvalid, "The release's manifest has version %d, this program reads version %d", m.Version, ManifestVersion)
	}
	if len(m.Files) > MaxManifestFiles {
		return models.Errorf(models.CodeReleaseInvalid, "The release has %d files, at most %d are possible", len(m.Files), MaxManifestFiles)
	}
	if _, err := m.Config.withDefaults(); err != nil {
		return models.Wrap(models.CodeReleaseInvalid, err, models.MessageOf(err))
	}
	for path, file := range m.Files {
		if err := validateFilePath(path); err != nil {
			return err
		}
		if err := file.validate(path); err != nil {
			return err
		}
	}
	if len(m.Headers) > MaxHeaderRules || len(m.Redirects) > MaxStaticRedirects+MaxDynamicRedirects {
		return models.Errorf(models.CodeReleaseInvalid, "The release has more header or redirect rules than are possible")
	}
	for _, rule := range m.Headers {
		if err := rule.validate(); err != nil {
			return err
		}
	}
	for _, rule := range m.Redirects {
		if err := rule.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (f File) validate(path string) error {
	if !validDigest(f.Digest) || f.Size < 0 || !validFieldValue(f.ContentType) {
		return models.Errorf(models.CodeReleaseInvalid, "The release's entry for %q has no valid digest, size or content type", path)
	}
	for coding, encoded := range f.Encodings {
		if codingRank(coding) < 0 || !validDigest(encoded.Digest) || encoded.Size < 0 {
			return models.Errorf(models.CodeReleaseInvalid, "The release's entry for %q has an invalid %q variant", path, coding)
		}
	}
	return nil
}

// validateFilePath accepts what a collected file can be called. What it refuses
// could be asked for under another name than its own, or be a control file.
func validateFilePath(path string) error {
	refuse := func(reason string) error {
		return models.Errorf(models.CodeReleaseInvalid, "The release cannot have a file %q: %s", path, reason)
	}
	switch {
	case len(path) < 2 || path[0] != '/':
		return refuse("its path must start with a slash and name a file")
	case len(path) > MaxFilePath:
		return refuse("its path is too long")
	case !utf8.ValidString(path):
		return refuse("its path is not UTF-8")
	case IsControlFile(path):
		return refuse("control files are not served")
	}
	for i := 0; i < len(path); i++ {
		if path[i] < 0x20 || path[i] == 0x7f || path[i] == '\\' {
			return refuse("its path has a control character or a backslash")
		}
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if segment == "" || segment == "." || segment == ".." {
			return refuse("its path has an empty or a dot segment")
		}
	}
	return nil
}

func validDigest(digest string) bool {
	if len(digest) != 64 {
		return false
	}
	for i := 0; i < len(digest); i++ {
		c := digest[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
