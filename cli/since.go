package cli

import (
	"net/url"
	"time"
)

// sinceFlag is a point in time on the command line: how long ago it was, a date,
// or a time in RFC 3339.
type sinceFlag struct{ at time.Time }

// String is the time in RFC 3339, "" for none.
func (f *sinceFlag) String() string {
	if f.at.IsZero() {
		return ""
	}
	return f.at.UTC().Format(time.RFC3339)
}

// Type is how help names the value.
func (f *sinceFlag) Type() string { return "time" }

// Set reads what was typed.
func (f *sinceFlag) Set(text string) error {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		f.at = time.Now().Add(-d)
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			f.at = at
			return nil
		}
	}
	return usagef("%q is neither a duration (24h) nor a date (2026-01-31) nor a time (2026-01-31T08:00:00Z)", text)
}

// set puts the time into a query, if there is one.
func (f *sinceFlag) set(query url.Values, name string) {
	if text := f.String(); text != "" {
		query.Set(name, text)
	}
}
