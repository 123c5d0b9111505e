package api

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strings"
)

// NamePaging is Paging for lists that are short by themselves and sorted by name:
// all of it is one page unless less is asked for.
type NamePaging struct {
	Cursor string `query:"cursor" maxLength:"512" doc:"nextCursor of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"128" default:"128" doc:"How many items at most"`
}

// pageByName sorts rows by name, byte by byte, and cuts out the page: what comes
// after the name that the cursor holds, whether or not that one is still there.
func pageByName[R any](rows []R, p NamePaging, name func(R) string) (cut []R, next string, err error) {
	after, err := decodeName(p.Cursor)
	if err != nil {
		return nil, "", err
	}
	slices.SortFunc(rows, func(a, b R) int { return cmp.Compare(name(a), name(b)) })
	first := 0
	if after != "" {
		first, _ = slices.BinarySearchFunc(rows, after+"\x00", func(r R, want string) int { return cmp.Compare(name(r), want) })
	}
	rows = rows[first:]
	if len(rows) <= p.Limit {
		return rows, "", nil
	}
	rows = rows[:p.Limit]
	return rows, encodeName(name(rows[p.Limit-1])), nil
}

func encodeName(name string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(nameCursor + ":" + name))
}

// decodeName gives the name in a cursor that encodeName made of one.
func decodeName(cursor string) (string, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	name, ok := strings.CutPrefix(string(raw), nameCursor+":")
	if cursor != "" && (err != nil || !ok || name == "") {
		return "", errCursor()
	}
	return name, nil
}
