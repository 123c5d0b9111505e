package api

import (
	"bytes"
	"encoding/json"
)

// repeatedField finds a name that an object of valid JSON has twice. encoding/json
// merges what both hold into one value, of which only the last part was checked
// (RFC 8259 §4 leaves open what it means).
func repeatedField(data []byte) (name string, found bool) {
	// One set of names per object that is open, nil for an array.
	var open []map[string]struct{}
	// named says that the next text is a name and no value.
	named := false
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{':
			open, named = append(open, map[string]struct{}{}), true
		case '[':
			open, named = append(open, nil), false
		case '}', ']':
			open, named = open[:len(open)-1], false
		case ',':
			named = open[len(open)-1] != nil
		case '"':
			end := textEnd(data, i)
			if named {
				name := nameOf(data[i:end])
				names := open[len(open)-1]
				if _, twice := names[name]; twice {
					return name, true
				}
				names[name], named = struct{}{}, false
			}
			i = end - 1
		}
	}
	return "", false
}

// textEnd is where the text that begins at a quotation mark ends.
func textEnd(data []byte, begin int) int {
	for i := begin + 1; ; i++ {
		next := bytes.IndexAny(data[i:], `"\`)
		i += next
		if data[i] == '"' {
			return i + 1
		}
		i++ // what is escaped
	}
}

// nameOf reads a text; one name may be written in several ways.
func nameOf(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var name string
	_ = json.Unmarshal(quoted, &name)
	return name
}
