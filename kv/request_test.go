package kv

import (
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestParse_readsBothFormsOfTarget(t *testing.T) {
	for _, target := range []string{"/a%2Fb?urlencoded=true", "https://fake-host/a%2Fb?urlencoded=true", "/a/b?urlencoded=false", "/a/b"} {
		got, err := parse("GET", target, "", time.Now())
		require.NoError(t, err, target)
		require.Equal(t, "a/b", got.key, target)
	}
	got, err := parse("GET", "https://fake-host?prefix=a%2B+b", "", time.Now())
	require.NoError(t, err)
	require.Equal(t, "a+ b", got.prefix)
	got, err = parse("GET", "/bulk/get", "", time.Now())
	require.NoError(t, err)
	require.Equal(t, "bulk/get", got.key, "a key like another, but for POST")
}

func FuzzParse(f *testing.F) {
	for _, target := range []string{"/", "/k?urlencoded=true&expiration_ttl=60", "/%00%ff?urlencoded=true", "https://h/k?cache_ttl=60",
		"/?prefix=a&key_count_limit=5&cursor=YQ", "/bulk/get", "//", "https://h", "/k?expiration=99999999999999999999"} {
		for _, method := range []string{"GET", "PUT", "DELETE", "POST"} {
			f.Add(method, target, `{"a":1}`)
		}
	}
	now := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, method, target, metadata string) {
		got, err := parse(method, target, metadata, now)
		if err != nil {
			require.ErrorAs(t, err, new(*refusal))
			return
		}
		if got.operation == opGet || got.operation == opPut || got.operation == opDelete {
			require.NotEmpty(t, got.key)
			require.LessOrEqual(t, len(got.key), models.KVMaxKey)
			require.True(t, utf8.ValidString(got.key))
		}
		if got.expiresAt != nil {
			require.GreaterOrEqual(t, got.expiresAt.Unix(), now.Unix()+minTTL)
			require.LessOrEqual(t, got.expiresAt.Year(), 9999)
		}
		require.True(t, got.metadata == "" || json.Valid([]byte(got.metadata)))
		require.LessOrEqual(t, got.limit, maxListed)
		require.LessOrEqual(t, len(got.after), models.KVMaxKey)
	})
}

func FuzzParseBulk(f *testing.F) {
	f.Add([]byte(`{"keys":["a","b"],"type":"json","withMetadata":true,"cacheTtl":"60"}`))
	f.Add([]byte(`{"keys":["\ud800",""],"cacheTtl":{}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := parseBulk(body)
		if err != nil {
			require.ErrorAs(t, err, new(*refusal))
			return
		}
		require.NotEmpty(t, got.Keys)
		require.LessOrEqual(t, len(got.Keys), maxBulkKeys)
	})
}
