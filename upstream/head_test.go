package upstream

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const typical = "HTTP/1.1 200 OK\r\nContent-Length: 48\r\nContent-Type: text/plain;charset=UTF-8\r\nx-lower: 1\r\nCache-Control: no-store\r\nSet-Cookie: a=b; Path=/\r\n\r\n"

func TestHeadEnd_findsTheEmptyLineWhereverReadsEnd(t *testing.T) {
	for cut := range len(typical) {
		end, err := headEnd([]byte(typical[:cut]), 0)
		require.NoError(t, err)
		require.Zero(t, end)
		end, err = headEnd([]byte(typical+"body"), cut)
		require.NoError(t, err)
		require.Equal(t, len(typical), end)
	}
}

// FuzzHead holds the parser against net/http's: what we accept, it must accept
// and understand alike, so that no reader behind us sees another answer.
func FuzzHead(f *testing.F) {
	for _, seed := range []string{
		typical, "HTTP/1.1 204\r\n\r\n", "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: x-a\r\nX-A: b\r\nX-B : c\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		end, err := headEnd([]byte(text), 0)
		if err != nil || end == 0 {
			return
		}
		var h head
		if h.parse(text[:end]) != nil {
			return
		}
		response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text[:end])), nil)
		require.NoError(t, err, "%q", text[:end])
		require.Equal(t, response.StatusCode, h.status)
		require.Equal(t, len(response.TransferEncoding) > 0, h.chunked && !h.bodiless("GET"), "%q", text[:end])
		if h.length >= 0 && !h.bodiless("GET") {
			require.Equal(t, response.ContentLength, h.length)
		}
		for _, field := range h.fields {
			require.Contains(t, response.Header[field.Name], field.Value, "%q", text[:end])
			require.False(t, hopByHop(field.Name) || private(field.Name))
			require.True(t, validToken(field.Name) && validValue(field.Value))
		}
	})
}

func FuzzChunkSize(f *testing.F) {
	for _, seed := range []string{"5", "a;x=y", "0", "ffffffffffffffff", " 5", "5 ", "0x5", "-1", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		size, ok := chunkSize(line)
		require.True(t, size >= 0)
		if ok {
			require.GreaterOrEqual(t, unhex(line[0]), 0)
		}
	})
}

func BenchmarkHead(b *testing.B) {
	var h head
	b.ReportAllocs()
	for b.Loop() {
		if err := h.parse(typical); err != nil {
			b.Fatal(err)
		}
	}
}
