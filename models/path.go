package models

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxPathBytes is the default limit on the length of a file path in a source.
const MaxPathBytes = 255

// CheckPath says what is wrong with the path of a source file; "" when nothing
// is. It is the only sanitizer of source paths: relative, slash-separated,
// UTF-8, no empty, "." or ".." segment, no backslash and no control character.
func CheckPath(path string, maxBytes int) string {
	if maxBytes <= 0 {
		maxBytes = MaxPathBytes
	}
	switch {
	case path == "":
		return "must not be empty"
	case len(path) > maxBytes:
		return "must be " + strconv.Itoa(maxBytes) + " bytes or less"
	case !utf8.ValidString(path):
		return "must be valid UTF-8"
	case strings.HasPrefix(path, "/"):
		return "must be relative, without a leading slash"
	case strings.Contains(path, `\`):
		return "must use forward slashes, not backslashes"
	}
	for _, c := range path {
		if c == 0 {
			return "must not contain a NUL byte"
		}
		if c < 0x20 || c == 0x7f {
			return "must not contain control characters"
		}
	}
	for _, segment := range strings.Split(path, "/") {
		switch segment {
		case "":
			return "must not have empty path segments"
		case ".", "..":
			return "must not contain '" + segment + "' segments"
		}
	}
	return ""
}

// FoldPath maps paths that a case-insensitive file system would take for one
// another to the same string, for finding duplicates.
func FoldPath(path string) string { return strings.ToLower(path) }
