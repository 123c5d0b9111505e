package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// screen writes lines that stay, and below them a few lines that are redrawn in
// place. Each change is one write, so that the terminal never shows half of it.
// Not safe for concurrent use.
type screen struct {
	w io.Writer
	// size is the terminal's, asked at each drawing because it changes.
	size  func() (columns, rows int)
	live  []string
	drawn int
}

func newScreen(w io.Writer) *screen {
	return &screen{w: w, size: func() (int, int) {
		if file, ok := w.(*os.File); ok {
			if columns, rows, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
				return columns, rows
			}
		}
		return 80, 24
	}}
}

// print adds lines that stay, above the live ones.
func (s *screen) print(lines ...string) { s.change(lines, s.live) }

// draw replaces the live lines.
func (s *screen) draw(lines []string) { s.change(nil, lines) }

// release lets the live lines stay where they are; the next ones go below.
func (s *screen) release() { s.live, s.drawn = nil, 0 }

func (s *screen) change(permanent, live []string) {
	columns, rows := s.size()
	s.live = live
	// A region taller than the terminal could not be redrawn: the cursor does
	// not go up past the top. Its last lines matter most.
	if most := max(rows-1, 1); len(live) > most {
		live = live[len(live)-most:]
	}
	var out bytes.Buffer
	if s.drawn > 0 {
		fmt.Fprintf(&out, "\x1b[%dA\r\x1b[J", s.drawn)
	}
	for _, line := range permanent {
		out.WriteString(line + "\n")
	}
	for _, line := range live {
		// A line that wrapped would be two to go up.
		out.WriteString(fitStyled(line, columns-1) + "\n")
	}
	s.drawn = len(live)
	_, _ = s.w.Write(out.Bytes())
}

// style wraps text in a colour or weight, or does not.
type style struct{ enabled bool }

func newStyle(w io.Writer) style {
	// https://no-color.org
	return style{enabled: isTerminal(w) && os.Getenv("NO_COLOR") == ""}
}

func (s style) wrap(code, text string) string {
	if !s.enabled || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s style) dim(text string) string   { return s.wrap("2", text) }
func (s style) bold(text string) string  { return s.wrap("1", text) }
func (s style) red(text string) string   { return s.wrap("31", text) }
func (s style) green(text string) string { return s.wrap("32", text) }
func (s style) cyan(text string) string  { return s.wrap("36", text) }

// fitStyled is fit for text with our own styles in it, which take no columns.
func fitStyled(text string, columns int) string {
	var out bytes.Buffer
	used := 0
	styled := false
	for i := 0; i < len(text); {
		if text[i] == 0x1b {
			length := escapeLength(text[i:])
			out.WriteString(text[i : i+length])
			styled = true
			i += length
			continue
		}
		end := i
		for end < len(text) && text[end] != 0x1b {
			end++
		}
		part := fit(text[i:end], columns-used)
		out.WriteString(part)
		used += textColumns(part)
		if len(part) != end-i {
			break
		}
		i = end
	}
	if styled {
		out.WriteString("\x1b[0m")
	}
	return out.String()
}

func textColumns(text string) int {
	columns := 0
	for _, r := range text {
		columns += runeColumns(r)
	}
	return columns
}

// bar is a progress bar of that many columns, filled in eighths of one.
func bar(done float64, columns int) string {
	done = min(max(done, 0), 1)
	eighths := int(done*float64(columns)*8 + 0.5)
	var out bytes.Buffer
	for i := range columns {
		switch filled := min(max(eighths-8*i, 0), 8); filled {
		case 0:
			out.WriteRune('░')
		case 8:
			out.WriteRune('█')
		default:
			out.WriteRune([]rune("▏▎▍▌▋▊▉")[filled-1])
		}
	}
	return out.String()
}
