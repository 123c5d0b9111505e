package assets

// AppendHeader appends the header lines that Apply sets, as HTTP/1.1 writes
// them. typed says that a Content-Type is among them. Not ok means that a header
// of the release needs the care of a server: it is one that servers set
// themselves, or has bytes that must not be written as they are.
func (r *Response) AppendHeader(b []byte) (_ []byte, typed, ok bool) {
	for _, field := range r.fields {
		switch field.Name {
		case "Content-Type":
			typed = true
		case "Connection", "Content-Length", "Content-Range", "Date", "Keep-Alive", "Location", "Strict-Transport-Security", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "X-Request-Id":
			return b, false, false
		case "Cache-Control":
			if r.defaultCaching {
				continue
			}
		}
		for _, value := range field.Values {
			if !printable(field.Name) || !printable(value) {
				return b, false, false
			}
			b = appendLine(b, field.Name, value)
		}
	}
	if r.defaultCaching {
		b = appendLine(b, "Cache-Control", defaultCacheControl[0])
	}
	if r.length != nil {
		b = appendLine(b, "Content-Length", r.length[0])
	}
	if r.contentRange != "" {
		b = appendLine(b, "Content-Range", r.contentRange)
	}
	if r.Location != "" {
		if !printable(r.Location) {
			return b, false, false
		}
		b = appendLine(b, "Location", r.Location)
	}
	if r.allow {
		b = appendLine(b, "Allow", allowedMethods[0])
	}
	return b, typed, true
}

func appendLine(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// printable accepts what stands in a header line as it is.
func printable(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return text == "" || (text[0] != ' ' && text[len(text)-1] != ' ')
}
