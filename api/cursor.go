package api

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// Paging is the query parameters of every list.
type Paging struct {
	Cursor string `query:"cursor" maxLength:"128" doc:"nextCursor of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"How many items at most"`
}

// The versions that cursors begin with, so that their form can change: of what a
// name stands in, and of what a position does.
const (
	nameCursor     = "1"
	positionCursor = "2"
)

// encodeCursor says where a page ended. Callers take it as it is.
func encodeCursor(p models.Position) string {
	return base64.RawURLEncoding.EncodeToString([]byte(positionCursor + ":" + strconv.FormatInt(p.Key, 10) + ":" + p.ID))
}

// decodeCursor gives the position in a cursor that encodeCursor made, which must be
// of the kind that is listed; the beginning for "".
func decodeCursor(prefix, cursor string) (models.Position, error) {
	if cursor == "" {
		return models.Position{}, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err == nil {
		version, rest, _ := strings.Cut(string(raw), ":")
		digits, id, _ := strings.Cut(rest, ":")
		key, err := strconv.ParseInt(digits, 10, 64)
		if version == positionCursor && err == nil && 0 <= key && key <= models.MaxPositionKey && models.ValidID(prefix, id) {
			return models.Position{Key: key, ID: id}, nil
		}
	}
	return models.Position{}, errCursor()
}

func errCursor() error {
	return invalid([]FieldError{{Field: "cursor", In: "query", Message: "must be the nextCursor of an earlier answer of this list"}})
}

// page cuts rows, of which one more than limit was asked for, to limit and gives
// the cursor of the next page; "" when this is the last.
func page[R any](rows []R, limit int, at func(R) models.Position) ([]R, string) {
	if len(rows) <= limit {
		return rows, ""
	}
	rows = rows[:limit]
	return rows, encodeCursor(at(rows[limit-1]))
}
