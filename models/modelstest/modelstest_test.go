package modelstest

import (
	"testing"
	"time"
)

func TestUntilMonth_isShortAndOnlyAtTheEnd(t *testing.T) {
	for now, want := range map[string]time.Duration{
		"2026-11-30T23:59:59.5Z":    1500 * time.Millisecond,
		"2026-12-31T23:57:00Z":      longest + time.Second,
		"2026-12-31T23:56:59Z":      0,
		"2027-01-01T00:00:00Z":      0,
		"2028-02-29T23:59:00Z":      time.Minute + time.Second,
		"2028-02-28T23:59:00Z":      0,
		"2026-12-01T01:59:00+02:00": time.Minute + time.Second,
	} {
		at, err := time.Parse(time.RFC3339, now)
		if err != nil {
			t.Fatal(err)
		}
		if got := untilMonth(at); got != want {
			t.Errorf("%s: %s, not %s", now, got, want)
		}
	}
}
