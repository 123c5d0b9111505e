package models_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

const kvRoom = 1 << 30

func TestKV_keepsEntriesWithTheirMetadata(t *testing.T) {
	store, id := openStore(t)
	ns := models.KVNamespace{OrganizationID: id.OrganizationID, Name: "cache"}
	_, err := store.KVGet(t.Context(), ns, "a", 10)
	requireCode(t, models.CodeNotFound, err)
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	for _, key := range []string{"a", "NUL \x00 inside", "a/b?c#%", "ü€😀"} {
		require.NoError(t, store.KVPut(t.Context(), ns, models.KVEntry{Key: key, Value: []byte("v\x00" + key), Metadata: `{"a": "\u0000"}`, ExpiresAt: &expires}, kvRoom))
		got, err := store.KVGet(t.Context(), ns, key, 100)
		require.NoError(t, err)
		require.Equal(t, "v\x00"+key, string(got.Value))
		require.Equal(t, `{"a": "\u0000"}`, got.Metadata)
		require.True(t, expires.Equal(*got.ExpiresAt))
	}
	require.NoError(t, store.KVPut(t.Context(), ns, models.KVEntry{Key: "a"}, kvRoom), "an empty value")
	got, err := store.KVGet(t.Context(), ns, "a", 100)
	require.NoError(t, err)
	require.Empty(t, got.Value)
	require.Empty(t, got.Metadata)
	require.Nil(t, got.ExpiresAt)
	require.NoError(t, store.KVDelete(t.Context(), ns, "a"))
	require.NoError(t, store.KVDelete(t.Context(), ns, "a"))
	_, err = store.KVGet(t.Context(), ns, "a", 10)
	requireCode(t, models.CodeNotFound, err)
}

func TestKV_separatesNamespacesAndOrganizations(t *testing.T) {
	store, id := openStore(t)
	other, err := store.EnsureOwner(t.Context(), "Other", "other@example.com")
	require.NoError(t, err)
	all := []models.KVNamespace{{OrganizationID: id.OrganizationID, Name: "one"}, {OrganizationID: id.OrganizationID, Name: "two"}, {OrganizationID: other.OrganizationID, Name: "one"}}
	for i, ns := range all {
		require.NoError(t, store.KVPut(t.Context(), ns, models.KVEntry{Key: "k", Value: fmt.Append(nil, i)}, kvRoom))
	}
	require.NoError(t, store.KVDelete(t.Context(), all[1], "k"))
	for i, ns := range all {
		got, err := store.KVGet(t.Context(), ns, "k", 10)
		if i == 1 {
			requireCode(t, models.CodeNotFound, err)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i), string(got.Value))
	}
}

func TestKVRead_givesOneVersionInParts(t *testing.T) {
	store, id := openStore(t)
	ns := models.KVNamespace{OrganizationID: id.OrganizationID, Name: "large"}
	value := bytes.Repeat([]byte("0123456789abcdef"), 10<<16)
	require.NoError(t, store.KVPut(t.Context(), ns, models.KVEntry{Key: "k", Value: value}, kvRoom))
	got, err := store.KVGet(t.Context(), ns, "k", 1<<20)
	require.NoError(t, err)
	require.EqualValues(t, len(value), got.Size)
	read := got.Value
	for int64(len(read)) < got.Size {
		part, err := store.KVRead(t.Context(), ns, "k", got.Version, int64(len(read)), 1<<20)
		require.NoError(t, err)
		read = append(read, part...)
	}
	require.True(t, bytes.Equal(value, read))
	require.NoError(t, store.KVPut(t.Context(), ns, models.KVEntry{Key: "k", Value: value}, kvRoom))
	_, err = store.KVRead(t.Context(), ns, "k", got.Version, 0, 10)
	requireCode(t, models.CodeNotFound, err)
}

func TestKVList_pagesInByteOrder(t *testing.T) {
	store, id := openStore(t)
	ns := models.KVNamespace{OrganizationID: id.OrganizationID, Name: "list"}
	keys := []string{"B", "a", "a/", "a/1", "a/10", "a/2", "a0", "ab", "b", "ä", "ﬀ", "😀", "\x00"}
	for _, key := range keys {
		require.NoError(t, store.KVPut(t.Context(), ns, models.KVEntry{Key: key, Value: []byte("v")}, kvRoom))
	}
	slices.Sort(keys)
	for _, limit := range []int{1, 2, 5, 1000} {
		var got []string
		for after, more := "", true; more; {
			var entries []models.KVEntry
			var err error
			entries, more, err = store.KVList(t.Context(), ns, "", after, limit)
			require.NoError(t, err)
			for _, entry := range entries {
				got = append(got, entry.Key)
			}
			after = got[len(got)-1]
		}
		require.Equal(t, keys, got)
	}
	for prefix, want := range map[string]int{"a": 7, "a/": 4, "😀": 1, "zz": 0, "\xf4\x8f\xbf\xbf": 0, "\xff": 0} {
		entries, more, err := store.KVList(t.Context(), ns, prefix, "", 1000)
		require.NoError(t, err)
		require.False(t, more)
		require.Len(t, entries, want, "%q", prefix)
	}
}

func TestKVGetMany_readsWhatThereIsWithinALimit(t *testing.T) {
	store, id := openStore(t)
	ns := models.KVNamespace{OrganizationID: id.OrganizationID, Name: "many"}
	for _, key := range []string{"a", "b"} {
		require.NoError(t, store.KVPut(t.Context(), ns, models.KVEntry{Key: key, Value: []byte("12345")}, kvRoom))
	}
	entries, err := store.KVGetMany(t.Context(), ns, []string{"a", "b", "c"}, 10)
	require.NoError(t, err)
	require.Len(t, entries, 2)
	require.Equal(t, "12345", string(entries[0].Value))
	_, err = store.KVGetMany(t.Context(), ns, []string{"a", "b", "c"}, 9)
	requireCode(t, models.CodeTooLarge, err)
	entries, err = store.KVGetMany(t.Context(), ns, []string{"c"}, 9)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestKVPut_holdsTheLimitOfAnOrganization(t *testing.T) {
	store, id := openStore(t)
	one, two := models.KVNamespace{OrganizationID: id.OrganizationID, Name: "one"}, models.KVNamespace{OrganizationID: id.OrganizationID, Name: "two"}
	const limit = 1000 + 2*models.KVEntryBytes
	put := func(ns models.KVNamespace, key string, size int) error {
		return store.KVPut(t.Context(), ns, models.KVEntry{Key: key, Value: make([]byte, size)}, limit)
	}
	require.NoError(t, put(one, "a", 600))
	requireCode(t, models.CodeQuotaExceeded, put(two, "b", 600))
	require.NoError(t, put(two, "b", 300))
	require.NoError(t, put(one, "a", 600), "writing over an entry takes no more")
	requireCode(t, models.CodeQuotaExceeded, put(one, "a", 900))
	require.NoError(t, store.KVDelete(t.Context(), one, "a"))
	require.NoError(t, put(two, "c", 600))
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 10 {
				if err := store.KVPut(t.Context(), one, models.KVEntry{Key: fmt.Sprint(n % 3), Value: make([]byte, i)}, kvRoom); err != nil {
					t.Error(err)
				}
				if err := store.KVDelete(t.Context(), one, fmt.Sprint((n+1)%3)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for n := range 3 {
		require.NoError(t, store.KVDelete(t.Context(), one, fmt.Sprint(n)))
	}
	require.NoError(t, store.KVDelete(t.Context(), two, "b"))
	require.NoError(t, put(one, "d", limit-601-1-2*models.KVEntryBytes), "the count is exact after writes at once")
	requireCode(t, models.CodeQuotaExceeded, put(one, "e", 0))
	full := models.KVEntry{Key: "d", Value: make([]byte, limit-601-1-2*models.KVEntryBytes)}
	require.NoError(t, store.KVPut(t.Context(), one, full, limit), "writing the same over a full namespace")
	full.Metadata = "1"
	requireCode(t, models.CodeQuotaExceeded, store.KVPut(t.Context(), one, full, limit))
}

func TestKVPut_countsEmptyValuesToo(t *testing.T) {
	store, id := openStore(t)
	ns := models.KVNamespace{OrganizationID: id.OrganizationID, Name: "empty"}
	const most = 10
	var kept int
	for n := range 2 * most {
		err := store.KVPut(t.Context(), ns, models.KVEntry{Key: string(rune('a' + n))}, most*(models.KVEntryBytes+1))
		if err == nil {
			kept++
			continue
		}
		requireCode(t, models.CodeQuotaExceeded, err)
	}
	require.Equal(t, most, kept)
}

func TestSweepKV_removesWhatHasExpiredABitAtATime(t *testing.T) {
	store, id := openStore(t)
	ns := models.KVNamespace{OrganizationID: id.OrganizationID, Name: "ttl"}
	past, future := time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	for i := range 5 {
		require.NoError(t, store.KVPut(t.Context(), ns, models.KVEntry{Key: fmt.Sprint("old", i), ExpiresAt: &past}, kvRoom))
	}
	require.NoError(t, store.KVPut(t.Context(), ns, models.KVEntry{Key: "new", ExpiresAt: &future}, kvRoom))
	require.NoError(t, store.KVPut(t.Context(), ns, models.KVEntry{Key: "ever"}, kvRoom))
	_, err := store.KVGet(t.Context(), ns, "old0", 1)
	requireCode(t, models.CodeNotFound, err)
	many, err := store.KVGetMany(t.Context(), ns, []string{"old1", "new"}, 10)
	require.NoError(t, err)
	require.Len(t, many, 1)
	entries, more, err := store.KVList(t.Context(), ns, "", "", 2)
	require.NoError(t, err)
	require.False(t, more)
	require.Len(t, entries, 2)
	for _, want := range []int{3, 2, 0} {
		swept, err := store.SweepKV(t.Context(), 3)
		require.NoError(t, err)
		require.Equal(t, want, swept)
	}
	require.NoError(t, store.KVPut(t.Context(), ns, models.KVEntry{Key: "x", Value: make([]byte, 100-3-4-1)}, 100+3*models.KVEntryBytes), "swept entries take no room")
}
