package main

import (
	"bytes"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRatio_isTheMedianOfTheTurnsOwnRatios(t *testing.T) {
	require.InDelta(t, 2, ratio([]pair{{2, 1}, {30, 10}, {100, 90}}), 1e-9)
	require.InDelta(t, 1.5, ratio([]pair{{2, 1}, {1, 1}}), 1e-9)
	require.True(t, math.IsNaN(ratio(nil)))
}

func TestRow_withoutAFigureOnBothSidesIsMissing(t *testing.T) {
	for _, pairs := range [][]pair{nil, {{1, 0}}, {{0, 1}}, {{1, 1}, {math.NaN(), 1}}, {{math.Inf(1), 1}}} {
		require.Equal(t, "MISSING", row{pairs: pairs, aim: 1}.verdict(), "%v", pairs)
	}
	require.Empty(t, row{pairs: []pair{{1, 1}}}.verdict())
}

func TestTable_marksAMissedAimAndSaysWhatToLookAt(t *testing.T) {
	var out bytes.Buffer
	printTable(&out, []row{
		{name: "fast", peer: "other", pairs: []pair{{1, 1}}, aim: 1.1},
		{name: "slow", peer: "other", pairs: []pair{{3, 1}}, aim: 2, look: "the disk"},
		{name: "late", peer: "other", pairs: []pair{{3, 9}}, aim: 2, absolute: true, look: "the clock"},
	})
	lines := strings.Split(out.String(), "\n")
	require.Regexp(t, `^fast .*≤ 1.10× +met`, lines[2])
	require.Regexp(t, `^slow .*≤ 2.00× +MISSED`, lines[3])
	require.Regexp(t, `^late .*≤ 2.00 s +MISSED`, lines[4])
	require.Contains(t, out.String(), "MISSED slow, against other:\nthe disk\n")
	require.Contains(t, out.String(), "the clock")
}

func TestSections_nameEachRowOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sections() {
		require.NotEmpty(t, s.rows)
		for _, key := range s.rows {
			require.False(t, seen[key], key)
			seen[key] = true
		}
	}
}

func TestParseStat_readsPastANameWithParentheses(t *testing.T) {
	s, err := parseStat([]byte("42 (a) b (c)) S 7 42 42 0 -1 4194560 1 0 0 0 100 20 3 4 20 0 1 0 5 6 7\n"))
	require.NoError(t, err)
	require.Equal(t, processStat{pid: 42, parent: 7, ticks: 127}, s)
	for _, broken := range []string{"", "42", "42 (x) S 1", "x (x) S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", ") ("} {
		_, err := parseStat([]byte(broken))
		require.Error(t, err, broken)
	}
}

func TestCPUTime_growsWithWork(t *testing.T) {
	before, err := cpuTime(os.Getpid())
	require.NoError(t, err)
	deadline := time.Now().Add(time.Minute)
	for after := before; after-before < 2*tick; {
		require.True(t, time.Now().Before(deadline), "reading /proc over and over used no CPU time")
		after, err = cpuTime(os.Getpid())
		require.NoError(t, err)
	}
	_, err = cpuTime(1 << 30)
	require.ErrorContains(t, err, "has ended")
}

func TestLoad_readsAnswersWithALengthAndInChunks(t *testing.T) {
	body := strings.Repeat("0123456789", 1000)
	asked := make(chan string, 100)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Host + " " + r.Header.Get("Accept-Encoding")
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		}
		for part := range slices.Chunk([]byte(body), 3000) {
			_, _ = w.Write(part)
			_ = http.NewResponseController(w).Flush()
		}
	}))
	defer site.Close()
	for _, path := range []string{"/length", "/chunks"} {
		made, took, err := newLoad(site.Listener.Addr().String(), "shop.localhost", path, "gzip", 4, 20).run(t.Context(), int64(len(body)))
		require.NoError(t, err)
		require.Equal(t, 20, made)
		require.Positive(t, took)
		require.Equal(t, "shop.localhost gzip", <-asked)
	}
}

func TestLoad_failsOnAnyAnswerButTheWholeFile(t *testing.T) {
	for name, answer := range map[string]string{
		"not found":   "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno",
		"other size":  "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes",
		"broken off":  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nn",
		"no length":   "HTTP/1.1 200 OK\r\n\r\nno",
		"then closes": "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			defer listener.Close()
			go func() {
				connection, err := listener.Accept()
				if err != nil {
					return
				}
				defer connection.Close()
				_, _ = connection.Read(make([]byte, 1024))
				_, _ = connection.Write([]byte(answer))
			}()
			_, _, err = newLoad(listener.Addr().String(), "x", "/", "gzip", 1, 1).run(t.Context(), 2)
			require.Error(t, err)
		})
	}
}

func TestSite_hasTheSizesItsRowsName(t *testing.T) {
	files := siteFiles()
	require.Len(t, files[0].Content, 10<<10)
	require.Len(t, files[1].Content, 1<<10)
	require.Len(t, files[2].Content, 100<<10)
	require.Equal(t, files, siteFiles(), "the same bytes in every run")
}
