package assets

import (
	"strconv"
	"strings"
)

// matchesETag says that a list as in If-None-Match or If-Match has a tag
// (RFC 9110 §13.1). Weak comparison ignores the W/ mark; strong comparison
// never matches a weak tag.
func matchesETag(list, etag string, weak bool) bool {
	if list == etag {
		return true
	}
	for {
		list = strings.TrimLeft(list, " \t,")
		if list == "" {
			return false
		}
		if list[0] == '*' {
			return true
		}
		isWeak := strings.HasPrefix(list, "W/")
		if isWeak {
			list = list[2:]
		}
		if list == "" || list[0] != '"' {
			return false
		}
		end := strings.IndexByte(list[1:], '"')
		if end < 0 {
			return false
		}
		tag := list[:end+2]
		list = list[end+2:]
		if tag == etag && (weak || !isWeak) {
			return true
		}
	}
}

// byteRange is a part of a body.
type byteRange struct{ offset, length int64 }

type rangeVerdict int

const (
	// rangeIgnored: no range, several ranges, another unit or nonsense. The
	// whole body is served, which RFC 9110 §14.2 allows; several ranges would
	// let a small request ask for a large answer many times over.
	rangeIgnored rangeVerdict = iota
	rangeSatisfied
	// rangeUnsatisfiable: well formed, but past the end.
	rangeUnsatisfiable
)

// parseRange reads a Range header for a body of size bytes (RFC 9110 §14.1.2).
func parseRange(header string, size int64) (byteRange, rangeVerdict) {
	unit, spec, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || strings.Contains(spec, ",") {
		return byteRange{}, rangeIgnored
	}
	first, last, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return byteRange{}, rangeIgnored
	}
	if first == "" {
		suffix, ok := parsePosition(last)
		if !ok {
			return byteRange{}, rangeIgnored
		}
		if suffix == 0 || size == 0 {
			return byteRange{}, rangeUnsatisfiable
		}
		suffix = min(suffix, size)
		return byteRange{size - suffix, suffix}, rangeSatisfied
	}
	start, ok := parsePosition(first)
	if !ok {
		return byteRange{}, rangeIgnored
	}
	end := size - 1
	if last != "" {
		if end, ok = parsePosition(last); !ok || end < start {
			return byteRange{}, rangeIgnored
		}
		end = min(end, size-1)
	}
	if start >= size {
		return byteRange{}, rangeUnsatisfiable
	}
	return byteRange{start, end - start + 1}, rangeSatisfied
}

// parsePosition reads digits only. A number too large to hold is as good as
// the largest one: it is past the end of anything.
func parsePosition(text string) (int64, bool) {
	if !isDigits(text) {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}

func (r byteRange) contentRange(size int64) string {
	b := make([]byte, 0, 48)
	b = append(b, "bytes "...)
	b = strconv.AppendInt(b, r.offset, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, r.offset+r.length-1, 10)
	b = append(b, '/')
	return string(strconv.AppendInt(b, size, 10))
}
