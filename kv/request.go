package kv

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slipwayhq/slipway/models"
)

// The limits of Cloudflare's KV that are no entry's own
// (https://developers.cloudflare.com/kv/api/write-key-value-pairs/, …/list-keys/,
// …/read-key-value-pairs/).
const (
	minTTL      = 60
	minCacheTTL = 30
	maxListed   = 1000
	maxBulkKeys = 100
	// maxExpiration is the end of the year 9999, the last the database can store
	// with room to spare.
	maxExpiration = 253402300799
)

// refusal is an answer other than the one asked for. Its text becomes the reason
// phrase.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.status, r.text) }

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Sprintf(format, args...)}
}

type operation int

const (
	opGet operation = iota
	opPut
	opDelete
	opList
	opBulkGet
)

// request is what a binding asks for.
type request struct {
	operation operation
	key       string
	// Of a put.
	expiresAt *time.Time
	metadata  string
	// Of a list.
	prefix, after string
	limit         int
}

// parse reads a request's method, target and headers. The target may be in
// origin or absolute form.
func parse(method, target, metadata string, now time.Time) (request, error) {
	if _, rest, absolute := strings.Cut(target, "://"); absolute && !strings.HasPrefix(target, "/") {
		target = "/"
		if at := strings.IndexAny(rest, "/?"); at >= 0 {
			target = "/" + strings.TrimPrefix(rest[at:], "/")
		}
	}
	path, rawQuery, _ := strings.Cut(target, "?")
	path, rooted := strings.CutPrefix(path, "/")
	if !rooted {
		return request{}, refuse(http.StatusBadRequest, "the path has no key")
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return request{}, refuse(http.StatusBadRequest, "the query string is malformed")
	}
	if method == http.MethodPost && path == "bulk/get" {
		return request{operation: opBulkGet}, nil
	}
	if method == http.MethodGet && path == "" {
		return parseList(query)
	}
	r := request{}
	if r.key, err = parseKey(path, query.Get("urlencoded") == "true"); err != nil {
		return request{}, err
	}
	switch method {
	case http.MethodGet:
		r.operation = opGet
		return r, checkCacheTTL(query.Get("cache_ttl"))
	case http.MethodDelete:
		r.operation = opDelete
		return r, nil
	case http.MethodPut:
		r.operation = opPut
		if r.metadata, err = parseMetadata(metadata); err != nil {
			return request{}, err
		}
		r.expiresAt, err = parseExpiration(query, now)
		return r, err
	}
	return request{}, refuse(http.StatusMethodNotAllowed, "no KV operation has this method")
}

func parseKey(path string, encoded bool) (string, error) {
	key := path
	if encoded {
		var err error
		if key, err = url.PathUnescape(path); err != nil {
			return "", refuse(http.StatusBadRequest, "the key is not percent-encoded as it should be")
		}
	}
	return key, checkKey(key)
}

func checkKey(key string) error {
	switch {
	case key == "":
		return refuse(http.StatusBadRequest, "Key name cannot be empty.")
	case key == "." || key == "..":
		return refuse(http.StatusBadRequest, "%q is not allowed as a key name.", key)
	case len(key) > models.KVMaxKey:
		return refuse(http.StatusRequestURITooLong, "UTF-8 encoded length of %d exceeds key length limit of %d.", len(key), models.KVMaxKey)
	case !utf8.ValidString(key):
		return refuse(http.StatusBadRequest, "the key is not UTF-8")
	}
	return nil
}

// checkCacheTTL looks at a setting that means nothing here: reads always see the
// latest write.
func checkCacheTTL(text string) error {
	if text == "" {
		return nil
	}
	if ttl, err := strconv.ParseInt(text, 10, 64); err != nil || ttl < minCacheTTL {
		return refuse(http.StatusBadRequest, "Invalid cache_ttl of %s. Cache TTL must be an integer of at least %d.", clip(text), minCacheTTL)
	}
	return nil
}

// parseMetadata takes JSON as it is. DEL is the one character that may stand in
// JSON and not in a header.
func parseMetadata(text string) (string, error) {
	if len(text) > models.KVMaxMetadata {
		return "", refuse(http.StatusRequestEntityTooLarge, "Metadata length of %d exceeds limit of %d.", len(text), models.KVMaxMetadata)
	}
	if text != "" && (!utf8.ValidString(text) || !json.Valid([]byte(text))) {
		return "", refuse(http.StatusBadRequest, "the metadata is not JSON")
	}
	return text, nil
}

// parseExpiration reads when an entry ends; a time to live goes before a time.
func parseExpiration(query url.Values, now time.Time) (*time.Time, error) {
	var at int64
	switch {
	case query.Has("expiration_ttl"):
		text := query.Get("expiration_ttl")
		ttl, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ttl <= 0 {
			return nil, refuse(http.StatusBadRequest, "Invalid expiration_ttl of %s. Please specify an integer greater than 0.", clip(text))
		}
		if ttl < minTTL {
			return nil, refuse(http.StatusBadRequest, "Invalid expiration_ttl of %d. Expiration TTL must be at least %d.", ttl, minTTL)
		}
		at = now.Unix() + min(ttl, maxExpiration)
	case query.Has("expiration"):
		text := query.Get("expiration")
		var err error
		if at, err = strconv.ParseInt(text, 10, 64); err != nil || at <= now.Unix() {
			return nil, refuse(http.StatusBadRequest, "Invalid expiration of %s. Please specify an integer greater than the current number of seconds since the UNIX epoch.", clip(text))
		}
		if at < now.Unix()+minTTL {
			return nil, refuse(http.StatusBadRequest, "Invalid expiration of %d. Expiration times must be at least %d seconds in the future.", at, minTTL)
		}
	default:
		return nil, nil
	}
	expires := time.Unix(min(at, maxExpiration), 0).UTC()
	return &expires, nil
}

func parseList(query url.Values) (request, error) {
	r := request{operation: opList, prefix: query.Get("prefix"), limit: maxListed}
	if text := query.Get("key_count_limit"); text != "" {
		limit, err := strconv.Atoi(text)
		if err != nil || limit < 1 {
			return request{}, refuse(http.StatusBadRequest, "Invalid key_count_limit of %s. Please specify an integer greater than 0.", clip(text))
		}
		if limit > maxListed {
			return request{}, refuse(http.StatusBadRequest, "Invalid key_count_limit of %d. Please specify an integer less than or equal to %d.", limit, maxListed)
		}
		r.limit = limit
	}
	if len(r.prefix) > models.KVMaxKey {
		return request{}, refuse(http.StatusRequestURITooLong, "UTF-8 encoded length of %d exceeds key length limit of %d.", len(r.prefix), models.KVMaxKey)
	}
	if text := query.Get("cursor"); text != "" {
		after, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(after) > models.KVMaxKey {
			return request{}, refuse(http.StatusBadRequest, "the cursor is not one that list() gave out")
		}
		r.after = string(after)
	}
	return r, nil
}

// cursor is where the next page begins: after the last key of this one.
func cursor(last string) string { return base64.RawURLEncoding.EncodeToString([]byte(last)) }

// bulk is the body of a bulk get.
type bulk struct {
	Keys         []string        `json:"keys"`
	Type         string          `json:"type"`
	WithMetadata bool            `json:"withMetadata"`
	CacheTTL     json.RawMessage `json:"cacheTtl"`
}

func parseBulk(body []byte) (bulk, error) {
	var b bulk
	if err := json.Unmarshal(body, &b); err != nil {
		return bulk{}, refuse(http.StatusBadRequest, "the body is not the JSON of a bulk get")
	}
	switch {
	case b.Type != "" && b.Type != "text" && b.Type != "json":
		return bulk{}, refuse(http.StatusBadRequest, "%q is not a valid type. Use \"json\" or \"text\"", clip(b.Type))
	case len(b.Keys) > maxBulkKeys:
		return bulk{}, refuse(http.StatusBadRequest, "You can request a maximum of %d keys", maxBulkKeys)
	case len(b.Keys) == 0:
		return bulk{}, refuse(http.StatusBadRequest, "You must request a minimum of 1 key")
	}
	for _, key := range b.Keys {
		if err := checkKey(key); err != nil {
			return bulk{}, err
		}
	}
	return b, checkCacheTTL(strings.Trim(string(b.CacheTTL), `"`))
}

func clip(text string) string {
	if len(text) > 40 {
		return text[:40]
	}
	return text
}
