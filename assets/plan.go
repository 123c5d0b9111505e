package assets

import (
	"net/http"
	"strconv"
	"strings"
)

// Request is what an answer depends on.
type Request struct {
	Method string
	// Host is the request's host without a port; only _headers rules that name
	// a host look at it.
	Host string
	// Path is the path as it was sent, still percent-encoded.
	Path string
	// Query is what followed the "?", without it.
	Query string
	// Header is only read.
	Header http.Header
	// FilesOnly leaves not_found_handling out: what neither a file nor a redirect
	// answers is Missing. It is for sites beside a worker, which answers the rest.
	FilesOnly bool
}

// Response says what to answer. Bytes are named, not held.
type Response struct {
	Status int
	// Body is empty for answers without one, HEAD included.
	Body Body
	// Location is set for redirects: a path on this origin, starting with
	// exactly one slash, or the https address of a _redirects rule.
	Location string
	// Missing says that no file matched and the release has no page for it, so
	// that the caller may show one of its own.
	Missing bool

	fields         []Field
	length         []string
	contentRange   string
	defaultCaching bool
	allow          bool
}

// Body names the bytes of an answer: Length of them from Offset in the blob.
type Body struct {
	Digest string
	Offset int64
	Length int64
	// Size is that of the whole blob.
	Size int64
}

// The header values every site shares.
var (
	// Browsers may keep a file but must ask whether it is still the one. See
	// https://developers.cloudflare.com/workers/static-assets/headers/#default-headers.
	defaultCacheControl = []string{"public, max-age=0, must-revalidate"}
	allowedMethods      = []string{"GET, HEAD"}
	noLength            = []string{"0"}
)

// Apply writes the answer's headers, Location and Content-Length included.
func (r *Response) Apply(h http.Header) {
	for _, field := range r.fields {
		h[field.Name] = field.Values
	}
	if r.defaultCaching {
		h["Cache-Control"] = defaultCacheControl
	}
	if r.length != nil {
		h["Content-Length"] = r.length
	}
	if r.contentRange != "" {
		h["Content-Range"] = []string{r.contentRange}
	}
	if r.Location != "" {
		h["Location"] = []string{r.Location}
	}
	if r.allow {
		h["Allow"] = allowedMethods
	}
}

// Plan answers a request. It takes no locks and, for a file at its own
// address, allocates nothing.
func (s *Site) Plan(req Request) Response {
	if e, ok := s.addresses[req.Path]; ok {
		return e.answer(req, http.StatusOK)
	}
	path := normalizePath(req.Path)
	target := path
	rewritten := false
	if !s.redirects.empty() {
		if rule, ok := s.redirects.find(path); ok {
			if rule.Status != http.StatusOK {
				return s.redirect(req, path, rule.Status, rule.To, true)
			}
			target, _, _ = splitTarget(rule.To)
			rewritten = true
		}
	}
	decision := s.Match(target)
	if rewritten && decision.Outcome == RedirectTo {
		// A rewrite must not show its target's address, so the redirect that
		// html_handling would give is followed here.
		decision = s.Match(decision.Location)
	}
	if req.FilesOnly && decision.Fallback {
		decision = Decision{}
	}
	switch decision.Outcome {
	case RedirectTo:
		if !readMethod(req.Method) {
			return s.methodNotAllowed(req, path)
		}
		return s.redirect(req, path, decision.Status, decision.Location, false)
	case Serve:
		return s.entryAt(s.assets[decision.File], req.Host, path).answer(req, decision.Status)
	}
	return s.bare(req, path, Response{Status: http.StatusNotFound, Missing: true})
}

// redirect keeps the request's query unless the target brings one.
func (s *Site) redirect(req Request, path string, status int, to string, rule bool) Response {
	location := to
	if req.Query != "" {
		if !rule {
			location = to + "?" + encodeRest(req.Query)
		} else if base, query, fragment := splitTarget(to); query == "" {
			location = base + "?" + encodeRest(req.Query) + fragment
		}
	}
	return s.bare(req, path, Response{Status: status, Location: location, length: noLength})
}

func (s *Site) methodNotAllowed(req Request, path string) Response {
	return s.bare(req, path, Response{Status: http.StatusMethodNotAllowed, allow: true, length: noLength})
}

// bare applies the header rules to an answer that is no file.
func (s *Site) bare(req Request, path string, r Response) Response {
	if len(s.headers) > 0 {
		r.fields = applyEdits(nil, s.headerEdits(req.Host, path))
	}
	return r
}

// answer applies method, preconditions, coding and range, in the order of
// RFC 9110 §13.2.2.
func (e *entry) answer(req Request, status int) Response {
	if !readMethod(req.Method) {
		return Response{Status: http.StatusMethodNotAllowed, allow: true, length: noLength}
	}
	h := req.Header
	ranged := first(h, "Range")
	rank := rankIdentity
	if !e.identityOnly && ranged == "" {
		rank = negotiate(list(h, "Accept-Encoding"), &e.asset.has)
	}
	v := &e.asset.variants[rank]
	r := Response{
		Status:         status,
		fields:         e.full[rank],
		length:         v.length,
		defaultCaching: !e.ownCaching && ranged == "" && first(h, "Authorization") == "",
	}
	if status == http.StatusOK {
		if match := list(h, "If-Match"); match != "" && !matchesETag(match, v.etag, false) {
			return Response{Status: http.StatusPreconditionFailed, fields: e.notModified[rank], length: noLength}
		}
		if match := list(h, "If-None-Match"); match != "" && matchesETag(match, v.etag, true) {
			r.Status, r.fields, r.length = http.StatusNotModified, e.notModified[rank], nil
			return r
		}
		if ranged != "" && req.Method == http.MethodGet {
			if condition := first(h, "If-Range"); condition == "" || condition == v.etag {
				return r.ranged(ranged, v, e.notModified[rank])
			}
		}
	}
	if req.Method == http.MethodGet {
		r.Body = Body{Digest: v.digest, Length: v.size, Size: v.size}
	}
	return r
}

// ranged narrows an answer of 200 to the part that was asked for.
func (r Response) ranged(header string, v *variant, bodiless []Field) Response {
	part, verdict := parseRange(header, v.size)
	switch verdict {
	case rangeSatisfied:
		r.Status = http.StatusPartialContent
		r.contentRange = part.contentRange(v.size)
		r.length = []string{strconv.FormatInt(part.length, 10)}
		r.Body = Body{Digest: v.digest, Offset: part.offset, Length: part.length, Size: v.size}
	case rangeUnsatisfiable:
		r.Status = http.StatusRequestedRangeNotSatisfiable
		r.fields = bodiless
		r.contentRange = "bytes */" + v.length[0]
		r.length = noLength
	default:
		r.Body = Body{Digest: v.digest, Length: v.size, Size: v.size}
	}
	return r
}

func readMethod(method string) bool {
	return method == http.MethodGet || method == http.MethodHead
}

// list reads a header whose value is a list, which may come in several lines.
func list(h http.Header, name string) string {
	if values := h[name]; len(values) > 1 {
		return strings.Join(values, ",")
	}
	return first(h, name)
}

// first reads a header by its canonical name without the cost of canonicalizing.
func first(h http.Header, name string) string {
	if values := h[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}
