package api

import (
	"encoding/base64"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// Paging is the query parameters of every list.
type Paging struct {
	Cursor string `query:"cursor" maxLength:"128" doc:"nextCursor of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"How many items at most"`
}

// cursorVersion is in every cursor, so that its form can change.
const cursorVersion = "1"

// encodeCursor names the last item of a page. Callers take it as it is.
func encodeCursor(id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(cursorVersion + ":" + id))
}

// decodeCursor gives the id of the last item of the page before, which must be
// of the kind that is listed; "" for the first page.
func decodeCursor(prefix, cursor string) (string, error) {
	if cursor == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err == nil {
		if id, ok := strings.CutPrefix(string(raw), cursorVersion+":"); ok && models.ValidID(prefix, id) {
			return id, nil
		}
	}
	return "", invalid([]FieldError{{Field: "cursor", In: "query", Message: "must be the nextCursor of an earlier answer of this list"}})
}

// page cuts rows, of which one more than limit was asked for, to limit and gives
// the cursor of the next page; "" when this is the last.
func page[R any](rows []R, limit int, id func(R) string) ([]R, string) {
	if len(rows) <= limit {
		return rows, ""
	}
	rows = rows[:limit]
	return rows, encodeCursor(id(rows[limit-1]))
}
