package assets

import (
	"strconv"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// Site is a manifest prepared for answering requests: addresses, entity tags
// and header values are worked out once. It never changes and may be used by
// any number of goroutines.
type Site struct {
	config    Config
	assets    map[string]*asset
	addresses map[string]*entry
	redirects redirectRules
	headers   []headerRule
	weight    int64
}

// asset is one file with its variants by rank; a variant that there is not has
// no digest.
type asset struct {
	variants [ranks]variant
	has      [ranks]bool
	plain    entry
}

// variant is one stored form of a file.
type variant struct {
	digest string
	size   int64
	etag   string
	length []string
}

// entry is an asset as it answers at one address: its headers, with the rules
// of _headers that match that address applied.
type entry struct {
	asset *asset
	// full are the headers of a whole answer and notModified those of a 304,
	// by rank, without Content-Length and without the default Cache-Control.
	full, notModified [ranks][]Field
	// ownCaching says that the rules decide on Cache-Control.
	ownCaching bool
	// identityOnly says that the rules set a Content-Encoding of their own, so
	// that ours would be a second one.
	identityOnly bool
}

// Field is one response header, ready to be put into an http.Header: the name
// is canonical, the values are shared between answers and must not be changed.
type Field struct {
	Name   string
	Values []string
}

// NewSite prepares a manifest. A manifest that ParseManifest or Builder gave
// is never refused but for a rule that cannot be compiled (CodeReleaseInvalid).
func NewSite(manifest *Manifest) (*Site, error) {
	if err := manifest.validate(); err != nil {
		return nil, err
	}
	config, err := manifest.Config.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Site{
		config:    config,
		assets:    make(map[string]*asset, len(manifest.Files)),
		addresses: make(map[string]*entry, len(manifest.Files)),
	}
	if s.redirects, err = compileRedirects(manifest.Redirects); err != nil {
		return nil, models.Errorf(models.CodeReleaseInvalid, "The release has a redirect that cannot be read: %w", err)
	}
	if s.headers, err = compileHeaders(manifest.Headers); err != nil {
		return nil, models.Errorf(models.CodeReleaseInvalid, "The release has a header rule that cannot be read: %w", err)
	}
	shared := make(sharedValues)
	for path, file := range manifest.Files {
		s.assets[path] = newAsset(file, shared)
		s.weight += int64(len(path)) + assetWeight*int64(1+len(file.Encodings))
	}
	s.prepareAddresses()
	return s, nil
}

// assetWeight is roughly what one stored form of a file takes in memory, in bytes.
const assetWeight = 700

// Weight is roughly what the site takes in memory, in bytes, for caches.
func (s *Site) Weight() int64 { return s.weight }

// prepareAddresses finds the one address at which each file answers by itself,
// so that most requests are one lookup. Addresses that a redirect takes, or
// whose headers depend on the request's host, are left to the slow path.
func (s *Site) prepareAddresses() {
	for path, a := range s.assets {
		address := path
		if s.config.HTMLHandling != ExactHTML && strings.HasSuffix(path, ".html") {
			address = s.address(path)
		}
		encoded := encodePath(address)
		if _, redirected := s.redirects.find(encoded); redirected || s.headersNeedHost() {
			continue
		}
		if d := s.Match(encoded); d.Outcome == Serve && !d.Fallback && d.File == path {
			s.addresses[encoded] = s.entryAt(a, "", encoded)
			continue
		}
		// The address belongs to another file; this one may still answer
		// under its own name.
		encoded = encodePath(path)
		if _, redirected := s.redirects.find(encoded); redirected {
			continue
		}
		if d := s.Match(encoded); d.Outcome == Serve && !d.Fallback && d.File == path {
			s.addresses[encoded] = s.entryAt(a, "", encoded)
		}
	}
}

// entryAt is an asset with the header rules for an address applied. Without a
// matching rule it is the asset's own entry and costs nothing.
func (s *Site) entryAt(a *asset, host, path string) *entry {
	edits := s.headerEdits(host, path)
	if len(edits) == 0 {
		return &a.plain
	}
	e := a.plain
	for rank := range e.full {
		if a.has[rank] {
			e.full[rank] = applyEdits(e.full[rank], edits)
			e.notModified[rank] = applyEdits(e.notModified[rank], edits)
		}
	}
	for _, edit := range edits {
		switch edit.name {
		case "Cache-Control":
			e.ownCaching = true
		case "Content-Encoding":
			e.identityOnly = e.identityOnly || edit.value != ""
		}
	}
	return &e
}

// sharedValues keeps one slice per header value, since most files share theirs.
type sharedValues map[string][]string

func (s sharedValues) of(value string) []string {
	if values, ok := s[value]; ok {
		return values
	}
	values := []string{value}
	s[value] = values
	return values
}

func newAsset(file File, shared sharedValues) *asset {
	a := &asset{}
	a.plain.asset = a
	a.add(rankIdentity, "", file.Digest, file.Size, file, shared)
	for coding, encoded := range file.Encodings {
		a.add(codingRank(coding), coding, encoded.Digest, encoded.Size, file, shared)
	}
	return a
}

func (a *asset) add(rank int, coding, digest string, size int64, file File, shared sharedValues) {
	// Each stored form has a tag of its own: they differ byte for byte, and a
	// strong tag promises that they do not (RFC 9110 §8.8.3.3).
	etag := `"` + file.Digest[:32]
	if coding != "" {
		etag += "-" + coding
	}
	etag += `"`
	a.has[rank] = true
	a.variants[rank] = variant{digest: digest, size: size, etag: etag, length: shared.of(strconv.FormatInt(size, 10))}

	notModified := []Field{{"Etag", []string{etag}}}
	if len(file.Encodings) > 0 {
		notModified = append(notModified, Field{"Vary", shared.of("Accept-Encoding")})
	}
	full := append([]Field(nil), notModified...)
	if file.ContentType != "" {
		full = append(full, Field{"Content-Type", shared.of(file.ContentType)})
	}
	if coding != "" {
		full = append(full, Field{"Content-Encoding", shared.of(coding)})
	}
	full = append(full, Field{"Accept-Ranges", shared.of("bytes")})
	a.plain.full[rank], a.plain.notModified[rank] = full, notModified
}
