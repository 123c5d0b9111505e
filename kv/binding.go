package kv

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slipwayhq/slipway/models"
)

const (
	// small is what a value may have to take no part in the sharing of memory.
	small = 128 << 10
	// part is how much of a large value is in memory at once when it is read.
	part = 4 << 20
	// maxBulkBody is room for the keys of a bulk get, each character escaped.
	maxBulkBody = 1 << 20
)

// binding answers one namespace's requests.
type binding struct {
	server       *Server
	organization *organization
	namespace    models.KVNamespace
}

func (b *binding) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	controller := http.NewResponseController(w)
	deadline := time.Now().Add(b.server.options.TransferTimeout)
	_ = controller.SetReadDeadline(deadline)
	_ = controller.SetWriteDeadline(deadline)
	// net/http sets them again for the next request of the connection only when
	// it has timeouts of its own.
	defer func() {
		_ = controller.SetReadDeadline(time.Time{})
		_ = controller.SetWriteDeadline(time.Time{})
	}()
	if err := b.serve(w, r); err != nil {
		b.fail(w, r, err)
	}
}

func (b *binding) serve(w http.ResponseWriter, r *http.Request) error {
	asked, err := parse(r.Method, r.RequestURI, r.Header.Get("CF-KV-Metadata"), time.Now())
	if err != nil {
		return err
	}
	switch asked.operation {
	case opPut:
		return b.put(r, asked)
	case opDelete:
		return b.query(r, func(ctx context.Context, store Store) error {
			return store.KVDelete(ctx, b.namespace, asked.key)
		})
	case opList:
		return b.list(w, r, asked)
	case opBulkGet:
		return b.bulkGet(w, r)
	default:
		return b.get(w, r, asked)
	}
}

func (b *binding) query(r *http.Request, fn func(context.Context, Store) error) error {
	return b.server.query(r.Context(), b.organization, func(ctx context.Context) error {
		return fn(ctx, b.server.options.Store)
	})
}

// get sends a value. No query is open while the worker makes up its mind to read
// on, and a large value is in memory in parts, within the organization's share.
func (b *binding) get(w http.ResponseWriter, r *http.Request, asked request) error {
	entry, release, err := b.begin(r, asked.key)
	if err != nil {
		return err
	}
	defer release()
	header := w.Header()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Content-Length", strconv.FormatInt(entry.Size, 10))
	if entry.ExpiresAt != nil {
		header.Set("CF-Expiration", strconv.FormatInt(entry.ExpiresAt.Unix(), 10))
	}
	if entry.Metadata != "" {
		header.Set("CF-KV-Metadata", headerJSON(entry.Metadata))
	}
	next, sent := entry.Value, int64(0)
	for {
		if _, err := w.Write(next); err != nil {
			return errGone
		}
		if sent += int64(len(next)); sent >= entry.Size {
			return nil
		}
		if next, err = b.read(r, entry, sent); err != nil || len(next) == 0 {
			// Written over meanwhile: half of one value must not be taken for it.
			return errGone
		}
	}
}

// begin reads the beginning of a value: the whole, when it has no more than a
// part. Until something is sent, a value that is written over is read anew.
func (b *binding) begin(r *http.Request, key string) (entry models.KVEntry, release func(), err error) {
	for range 5 {
		err = b.query(r, func(ctx context.Context, store Store) (err error) {
			entry, err = store.KVGet(ctx, b.namespace, key, small)
			return err
		})
		if err != nil || entry.Size <= int64(len(entry.Value)) {
			return entry, func() {}, err
		}
		if release, err = b.server.reserve(r.Context(), b.organization, 2*min(entry.Size, part)); err != nil {
			return entry, nil, err
		}
		entry.Value, err = b.read(r, entry, 0)
		if err == nil {
			return entry, release, nil
		}
		release()
		if models.CodeOf(err) != models.CodeNotFound {
			return entry, nil, err
		}
	}
	return entry, nil, refuse(http.StatusConflict, "the value is written too often to be read")
}

func (b *binding) read(r *http.Request, entry models.KVEntry, offset int64) (next []byte, err error) {
	err = b.query(r, func(ctx context.Context, store Store) (err error) {
		next, err = store.KVRead(ctx, b.namespace, entry.Key, entry.Version, offset, part)
		return err
	})
	return next, err
}

// headerJSON is JSON on one line: line breaks stand between its tokens only, and
// DEL, which a header cannot carry, within strings only.
func headerJSON(text string) string {
	return strings.NewReplacer("\n", " ", "\r", " ", "\t", " ", "\x7f", `\u007f`).Replace(text)
}

func (b *binding) put(r *http.Request, asked request) error {
	value, release, err := b.readValue(r)
	if err != nil {
		return err
	}
	defer release()
	return b.query(r, func(ctx context.Context, store Store) error {
		return store.KVPut(ctx, b.namespace, models.KVEntry{
			Key: asked.key, Value: value, Metadata: asked.metadata, ExpiresAt: asked.expiresAt,
		}, b.server.options.MaxBytes)
	})
}

// readValue reads the body. A large one waits for its share of memory first.
func (b *binding) readValue(r *http.Request) (value []byte, release func(), err error) {
	if r.ContentLength > models.KVMaxValue {
		return nil, nil, tooLarge(r.ContentLength)
	}
	release = func() {}
	var buffer bytes.Buffer
	if r.ContentLength > 0 {
		// One byte more than needed spares the buffer growing to see the end.
		buffer.Grow(int(min(r.ContentLength, small)) + bytes.MinRead)
	}
	if _, err := io.Copy(&buffer, io.LimitReader(r.Body, small)); err != nil {
		return nil, nil, errGone
	}
	if buffer.Len() < small {
		return buffer.Bytes(), release, nil
	}
	size := int64(models.KVMaxValue)
	if r.ContentLength > 0 {
		size = r.ContentLength
	}
	if release, err = b.server.reserve(r.Context(), b.organization, min(2*size, valueMemory)); err != nil {
		return nil, nil, err
	}
	buffer.Grow(int(size) - buffer.Len() + bytes.MinRead)
	_, err = io.Copy(&buffer, io.LimitReader(r.Body, models.KVMaxValue+1-small))
	if err != nil {
		release()
		return nil, nil, errGone
	}
	if buffer.Len() > models.KVMaxValue {
		release()
		return nil, nil, refuse(http.StatusRequestEntityTooLarge, "Value length exceeds limit of %d.", models.KVMaxValue)
	}
	return buffer.Bytes(), release, nil
}

func tooLarge(size int64) error {
	return refuse(http.StatusRequestEntityTooLarge, "Value length of %d exceeds limit of %d.", size, models.KVMaxValue)
}

// listed is a key in the answer to a list. Metadata is JSON in a string: that is
// how workerd wants it.
type listed struct {
	Name       string `json:"name"`
	Expiration int64  `json:"expiration,omitempty"`
	Metadata   string `json:"metadata,omitempty"`
}

func (b *binding) list(w http.ResponseWriter, r *http.Request, asked request) error {
	var entries []models.KVEntry
	var more bool
	err := b.query(r, func(ctx context.Context, store Store) (err error) {
		entries, more, err = store.KVList(ctx, b.namespace, asked.prefix, asked.after, asked.limit)
		return err
	})
	if err != nil {
		return err
	}
	page := struct {
		Keys     []listed `json:"keys"`
		Complete bool     `json:"list_complete"`
		Cursor   string   `json:"cursor,omitempty"`
	}{Keys: make([]listed, 0, len(entries)), Complete: !more}
	for _, entry := range entries {
		key := listed{Name: entry.Key, Metadata: entry.Metadata}
		if entry.ExpiresAt != nil {
			key.Expiration = entry.ExpiresAt.Unix()
		}
		page.Keys = append(page.Keys, key)
	}
	if more {
		page.Cursor = cursor(page.Keys[len(page.Keys)-1].Name)
	}
	w.Header().Set("Content-Type", "application/json")
	if json.NewEncoder(w).Encode(page) != nil {
		return errGone
	}
	return nil
}

// bulkGet answers {"key": value or null, …}.
func (b *binding) bulkGet(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBulkBody+1))
	if err != nil {
		return errGone
	}
	if len(body) > maxBulkBody {
		return refuse(http.StatusRequestEntityTooLarge, "the list of keys is too long")
	}
	asked, err := parseBulk(body)
	if err != nil {
		return err
	}
	entries, release, err := b.getMany(r, asked.Keys)
	if err != nil {
		return err
	}
	defer release()
	found := make(map[string]models.KVEntry, len(entries))
	for _, entry := range entries {
		if asked.Type == "json" && !json.Valid(entry.Value) {
			return refuse(http.StatusBadRequest, "At least one of the requested keys corresponds to a non-json value")
		}
		found[entry.Key] = entry
	}
	w.Header().Set("Content-Type", "application/json")
	separator := "{"
	for _, key := range asked.Keys {
		entry, ok := found[key]
		if _, err := fmt.Fprintf(w, "%s%s:", separator, quote(key)); err != nil {
			return errGone
		}
		if err := writeMember(w, entry, ok, asked); err != nil {
			return errGone
		}
		separator = ","
	}
	_, _ = io.WriteString(w, "}")
	return nil
}

// getMany reads within a small limit first, and takes its share of memory when
// that does not do.
func (b *binding) getMany(r *http.Request, keys []string) (entries []models.KVEntry, release func(), err error) {
	read := func(maxBytes int64) error {
		return b.query(r, func(ctx context.Context, store Store) (err error) {
			entries, err = store.KVGetMany(ctx, b.namespace, keys, maxBytes)
			return err
		})
	}
	err = read(small)
	if models.CodeOf(err) != models.CodeTooLarge {
		return entries, func() {}, err
	}
	if release, err = b.server.reserve(r.Context(), b.organization, valueMemory); err != nil {
		return nil, nil, err
	}
	if err = read(models.KVMaxValue); err != nil {
		release()
	}
	return entries, release, err
}

// writeMember writes one value of a bulk get as JSON.
func writeMember(w io.Writer, entry models.KVEntry, ok bool, asked bulk) error {
	if !ok {
		_, err := io.WriteString(w, "null")
		return err
	}
	head, tail := "", ""
	if asked.WithMetadata {
		head, tail = `{"value":`, fmt.Sprintf(`,"metadata":%s}`, cmp.Or(entry.Metadata, "null"))
	}
	if _, err := io.WriteString(w, head); err != nil {
		return err
	}
	var err error
	if asked.Type == "json" {
		_, err = w.Write(entry.Value)
	} else {
		err = writeQuoted(w, entry.Value)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, tail)
	return err
}

// quotedAtOnce is how much of a text is in memory as JSON at once, which may take
// six times as much as the text.
const quotedAtOnce = 64 << 10

// writeQuoted writes a JSON string as quote makes it.
func writeQuoted(w io.Writer, text []byte) error {
	if _, err := io.WriteString(w, `"`); err != nil {
		return err
	}
	for len(text) > 0 {
		end := min(len(text), quotedAtOnce)
		for end < len(text) && end > quotedAtOnce-utf8.UTFMax && !utf8.RuneStart(text[end]) {
			end--
		}
		quoted := quote(string(text[:end]))
		if _, err := w.Write(quoted[1 : len(quoted)-1]); err != nil {
			return err
		}
		text = text[end:]
	}
	_, err := io.WriteString(w, `"`)
	return err
}

// quote makes a JSON string; what is not UTF-8 becomes U+FFFD, as get("text") has it.
func quote(text string) []byte {
	quoted, _ := json.Marshal(text)
	return quoted
}

// errGone says that an answer cannot be finished and the connection must break.
var errGone = errors.New("connection gone")
