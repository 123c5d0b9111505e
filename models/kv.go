package models

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// The limits of key-value entries, in bytes
// (https://developers.cloudflare.com/kv/platform/limits/).
const (
	KVMaxKey      = 512
	KVMaxValue    = 25 << 20
	KVMaxMetadata = 1024
)

// KVEntryBytes is what an entry counts besides its key, value and metadata: about
// what its row and its entries in the indexes take. It is the number in the
// database's function kv_entry_size, which counts.
const KVEntryBytes = 256

// KVNamespace names the entries of an organization that belong together. It
// exists in the database from its first write.
type KVNamespace struct{ OrganizationID, Name string }

// KVEntry is a value under a key. Entries that have expired are not there for
// any reader, whether they are swept or not.
type KVEntry struct {
	// Key is any UTF-8 of 1 to KVMaxKey bytes.
	Key   string
	Value []byte
	// Size is the length of the whole value, of which Value may be the beginning.
	Size int64
	// Metadata is JSON; "" for none.
	Metadata string
	// ExpiresAt is when the entry ends, in whole seconds; nil for never.
	ExpiresAt *time.Time
	// Version is another after every write to any key.
	Version int64
}

// kvLive joins the one namespace ($1 organization, $2 name) with its entries
// that have not expired.
const kvLive = ` FROM kv_namespaces n JOIN kv_entries e ON e.namespace_id = n.id
	WHERE n.organization_id = $1 AND n.name = $2 AND (e.expires_at IS NULL OR e.expires_at > now())`

// KVGet reads an entry with at most the first bytes of its value; KVRead reads
// the others. CodeNotFound.
func (s *Store) KVGet(ctx context.Context, ns KVNamespace, key string, first int) (KVEntry, error) {
	entry := KVEntry{Key: key}
	err := s.withConn(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT substring(e.value FROM 1 FOR $4), octet_length(e.value), coalesce(e.metadata, ''), e.expires_at, e.version`+
			kvLive+` AND e.key = $3`, ns.OrganizationID, ns.Name, []byte(key), first).
			Scan(&entry.Value, &entry.Size, &entry.Metadata, &entry.ExpiresAt, &entry.Version)
	})
	return entry, kvMissing(err)
}

// KVRead reads a part of a value of the version KVGet told. CodeNotFound when the
// entry was written or deleted since; its expiry does not matter.
func (s *Store) KVRead(ctx context.Context, ns KVNamespace, key string, version, offset int64, length int) ([]byte, error) {
	var part []byte
	err := s.withConn(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT substring(e.value FROM $5 FOR $6) FROM kv_namespaces n JOIN kv_entries e ON e.namespace_id = n.id
			WHERE n.organization_id = $1 AND n.name = $2 AND e.key = $3 AND e.version = $4`,
			ns.OrganizationID, ns.Name, []byte(key), version, offset+1, length).Scan(&part)
	})
	return part, kvMissing(err)
}

// KVGetMany reads the entries there are of several keys, in no order.
// CodeTooLarge when their values have more than maxBytes together.
func (s *Store) KVGetMany(ctx context.Context, ns KVNamespace, keys []string, maxBytes int64) ([]KVEntry, error) {
	raw := make([][]byte, len(keys))
	for i, key := range keys {
		raw[i] = []byte(key)
	}
	var entries []KVEntry
	err := s.withConn(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `WITH found AS (SELECT e.key, e.value, e.metadata, e.expires_at, e.version, octet_length(e.value)::bigint AS size`+
			kvLive+` AND e.key = ANY($3)), total AS (SELECT sum(size)::bigint AS total FROM found)
			SELECT key, CASE WHEN total <= $4 THEN value END, size, coalesce(metadata, ''), expires_at, version, total FROM found, total`,
			ns.OrganizationID, ns.Name, raw, maxBytes)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var entry KVEntry
			var key []byte
			var total int64
			if err := rows.Scan(&key, &entry.Value, &entry.Size, &entry.Metadata, &entry.ExpiresAt, &entry.Version, &total); err != nil {
				return err
			}
			if total > maxBytes {
				return Errorf(CodeTooLarge, "The values of these keys have %d bytes together; at most %d can be read at once.", total, maxBytes)
			}
			entry.Key = string(key)
			entries = append(entries, entry)
		}
		return rows.Err()
	})
	return entries, err
}

// KVPut writes an entry (Key, Value, Metadata, ExpiresAt), over another if there
// is one. CodeQuotaExceeded when the organization's entries would then take more
// than maxBytes, counting keys, values, metadata and KVEntryBytes each; writes at
// the same moment may exceed it by as much as they write.
func (s *Store) KVPut(ctx context.Context, ns KVNamespace, entry KVEntry, maxBytes int64) error {
	var metadata *string
	if entry.Metadata != "" {
		metadata = &entry.Metadata
	}
	value := entry.Value
	if value == nil {
		// nil would be NULL.
		value = []byte{}
	}
	put := func(conn *pgx.Conn) (bool, error) {
		tag, err := conn.Exec(ctx, `INSERT INTO kv_entries (namespace_id, key, value, metadata, expires_at)
			SELECT n.id, $3, $4, $5, $6 FROM kv_namespaces n WHERE n.organization_id = $1 AND n.name = $2
				AND kv_entry_size($3, $4, $5) + (SELECT sum(bytes) FROM kv_namespaces WHERE organization_id = $1)
					- coalesce((SELECT kv_entry_size(e.key, e.value, e.metadata) FROM kv_entries e WHERE e.namespace_id = n.id AND e.key = $3), 0) <= $7::bigint
			ON CONFLICT (namespace_id, key) DO UPDATE SET value = EXCLUDED.value, metadata = EXCLUDED.metadata,
				expires_at = EXCLUDED.expires_at, version = nextval('kv_versions')`,
			ns.OrganizationID, ns.Name, []byte(entry.Key), value, metadata, entry.ExpiresAt, maxBytes)
		return tag.RowsAffected() == 1, err
	}
	return s.withConn(ctx, func(conn *pgx.Conn) error {
		done, err := put(conn)
		if done || err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, `INSERT INTO kv_namespaces (organization_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
			ns.OrganizationID, ns.Name); err != nil {
			return err
		}
		done, err = put(conn)
		if done || err != nil {
			return err
		}
		return Errorf(CodeQuotaExceeded, "The organization's key-value namespaces are full: they may hold %d bytes. Delete keys or let them expire.", maxBytes)
	})
}

// KVDelete removes an entry; one that is not there is no error.
func (s *Store) KVDelete(ctx context.Context, ns KVNamespace, key string) error {
	return s.withConn(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `DELETE FROM kv_entries e USING kv_namespaces n WHERE e.namespace_id = n.id
			AND n.organization_id = $1 AND n.name = $2 AND e.key = $3`, ns.OrganizationID, ns.Name, []byte(key))
		return err
	})
}

// KVList lists up to limit entries without their values, whose keys begin with
// prefix and come after the key after, in the order of their bytes. more says
// that there are others.
func (s *Store) KVList(ctx context.Context, ns KVNamespace, prefix, after string, limit int) (entries []KVEntry, more bool, err error) {
	err = s.withConn(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT e.key, octet_length(e.value), coalesce(e.metadata, ''), e.expires_at, e.version`+kvLive+`
			AND e.key >= $3 AND e.key > $4 AND ($5::bytea IS NULL OR e.key < $5) ORDER BY e.key LIMIT $6`,
			ns.OrganizationID, ns.Name, []byte(prefix), []byte(after), kvAfterPrefix(prefix), limit+1)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var entry KVEntry
			var key []byte
			if err := rows.Scan(&key, &entry.Size, &entry.Metadata, &entry.ExpiresAt, &entry.Version); err != nil {
				return err
			}
			entry.Key = string(key)
			entries = append(entries, entry)
		}
		return rows.Err()
	})
	if len(entries) > limit {
		return entries[:limit], true, err
	}
	return entries, false, err
}

// kvAfterPrefix is the least key that is greater than every key with the prefix;
// nil when there is none.
func kvAfterPrefix(prefix string) []byte {
	end := []byte(prefix)
	for len(end) > 0 {
		if last := len(end) - 1; end[last] < 0xff {
			end[last]++
			return end
		}
		end = end[:len(end)-1]
	}
	return nil
}

// SweepKV removes up to limit entries that have expired and tells how many; fewer
// than limit means that no more are left. Several processes may sweep at once.
func (s *Store) SweepKV(ctx context.Context, limit int) (int, error) {
	var swept int
	err := s.withConn(ctx, func(conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, `DELETE FROM kv_entries WHERE ctid = ANY(ARRAY(
			SELECT ctid FROM kv_entries WHERE expires_at <= now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))`, limit)
		swept = int(tag.RowsAffected())
		return err
	})
	return swept, err
}

func kvMissing(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return Errorf(CodeNotFound, "There is no such key.")
	}
	return err
}
