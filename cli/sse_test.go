package cli

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

func readEvents(r io.Reader) (events []event, last *eventReader, err error) {
	last = newEventReader(r)
	for {
		e, err := last.Next()
		if err != nil {
			return events, last, err
		}
		events = append(events, e)
	}
}

func TestEventReader_followsTheStandard(t *testing.T) {
	cases := []struct {
		name, stream string
		want         []event
		lastID       string
	}{
		{"data and name", "event: line\ndata: one\n\n", []event{{Name: "line", Data: "one"}}, ""},
		{"several data lines", "data: a\ndata\ndata: b\n\n", []event{{Name: "message", Data: "a\n\nb"}}, ""},
		{"one blank is taken off", "data:  a\n\ndata:b\n\n", []event{{Name: "message", Data: " a"}, {Name: "message", Data: "b"}}, ""},
		{"comments", ": ping\n\n:\ndata: a\n\n", []event{{Name: "message", Data: "a"}}, ""},
		{"CR and CRLF", "data: a\r\rdata: b\r\n\r\ndata: c\n\n", []event{{"message", "a", ""}, {"message", "b", ""}, {"message", "c", ""}}, ""},
		{"ids last", "id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", []event{{"message", "a", "1"}, {"message", "b", "1"}, {"message", "c", ""}}, ""},
		{"an id without data counts", "id: 7\n\n", nil, "7"},
		{"an id with NUL does not", "id: 7\n\nid: 8\x00\n\n", nil, "7"},
		{"an event broken off is dropped", "data: a\n\nid: 9\ndata: b\n", []event{{Name: "message", Data: "a"}}, ""},
		{"a name without data is forgotten", "event: x\n\ndata: a\n\n", []event{{Name: "message", Data: "a"}}, ""},
		{"byte order mark", "\ufeffdata: a\n\n", []event{{Name: "message", Data: "a"}}, ""},
		{"unknown fields", "color: red\ndata: a\n\n", []event{{Name: "message", Data: "a"}}, ""},
		{"colon in the value", "data: a: b\n\n", []event{{Name: "message", Data: "a: b"}}, ""},
		{"empty data is an event", "data\n\n", []event{{Name: "message"}}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(c.stream), iotest.OneByteReader(strings.NewReader(c.stream))} {
				events, reader, err := readEvents(in)
				require.ErrorIs(t, err, io.EOF)
				require.Equal(t, c.want, events)
				require.Equal(t, c.lastID, reader.LastID)
			}
		})
	}
}

func TestEventReader_takesTheRetryPause(t *testing.T) {
	_, reader, _ := readEvents(strings.NewReader("retry: 1500\nretry: x\nretry: +3\n\n"))
	require.Equal(t, 1500*time.Millisecond, reader.Retry)
}

func TestEventReader_doesNotHoldAnEventBackForTheNextByte(t *testing.T) {
	in, out := io.Pipe()
	defer out.Close()
	go func() { _, _ = out.Write([]byte("data: now\r\n\r")) }()
	e, err := newEventReader(in).Next()
	require.NoError(t, err)
	require.Equal(t, "now", e.Data)
}

func TestEventReader_refusesALineWithoutEnd(t *testing.T) {
	_, _, err := readEvents(strings.NewReader("data: " + strings.Repeat("x", maxEventLine)))
	require.ErrorIs(t, err, errEventTooLong)
	_, _, err = readEvents(strings.NewReader(strings.Repeat("data: "+strings.Repeat("x", 1000)+"\n", 2000)))
	require.ErrorIs(t, err, errEventTooLong)
}

func FuzzEventReader(f *testing.F) {
	f.Add("id: 1\nevent: line\ndata: {\"line\":1,\"text\":\"a\"}\n\n: ping\n\nevent: end\ndata\n\n")
	f.Add("\ufeffdata: a\r\ndata\rdata:b\n\r\nretry: 10\n\n")
	f.Fuzz(func(t *testing.T, stream string) {
		whole, reader, err := readEvents(strings.NewReader(stream))
		if !errors.Is(err, io.EOF) && !errors.Is(err, errEventTooLong) {
			t.Fatal(err)
		}
		pieces, byBytes, _ := readEvents(iotest.OneByteReader(strings.NewReader(stream)))
		require.Equal(t, whole, pieces)
		require.Equal(t, reader.LastID, byBytes.LastID)
		for _, e := range whole {
			if e.Name == "" || strings.ContainsAny(e.Name+e.ID, "\r\n") {
				t.Fatalf("%q", e)
			}
		}
	})
}
