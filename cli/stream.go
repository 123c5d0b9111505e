package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// streamIdle is how long a stream may say nothing, comments included, before
	// its connection counts as dead. The API sends a comment more often.
	streamIdle = time.Minute
	// maxReconnectPause bounds the growing pause between two connections.
	maxReconnectPause = 5 * time.Second
)

// LogLine is one line of a build log; numbers begin at 1.
type LogLine struct {
	Number int64  `json:"line"`
	Text   string `json:"text"`
}

// StreamLog calls each with the build log's lines after the given number, those
// that are there and those to come, until the log ends. A broken connection is
// made again where it broke, for as long as ctx lives. An error of each, of ctx,
// or an answer of the API that will not change ends it.
func (c *Client) StreamLog(ctx context.Context, id string, after int64, each func(LogLine) error) error {
	pause := c.firstPause
	for {
		before := after
		ended, err := c.streamOnce(ctx, id, &after, each)
		if ended || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if after > before {
			pause = c.firstPause
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, maxReconnectPause)
	}
}

// streamOnce reads one connection. ended says that there is nothing more to read.
func (c *Client) streamOnce(ctx context.Context, id string, after *int64, each func(LogLine) error) (ended bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	header := map[string]string{"Accept": "text/event-stream", "Cache-Control": "no-cache"}
	if *after > 0 {
		header["Last-Event-ID"] = strconv.FormatInt(*after, 10)
	}
	response, err := c.send(ctx, call{method: http.MethodGet, path: "/deployments/" + url.PathEscape(id) + "/logs/stream", header: header}, nil, "")
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		data, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		mayChange := response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests
		return !mayChange, c.answerError(response, data)
	}
	events := newEventReader(&watchedReader{r: response.Body, timer: time.AfterFunc(streamIdle, cancel)})
	for {
		e, err := events.Next()
		if err != nil {
			return false, err
		}
		if e.Name == "end" {
			return true, nil
		}
		line, ok := decodeLine(e)
		if !ok || line.Number <= *after {
			continue
		}
		if err := each(line); err != nil {
			return true, err
		}
		*after = line.Number
	}
}

// decodeLine reads an event that carries a log line.
func decodeLine(e event) (LogLine, bool) {
	if e.Name != "line" {
		return LogLine{}, false
	}
	var line LogLine
	if err := json.Unmarshal([]byte(e.Data), &line); err != nil || line.Number <= 0 {
		return LogLine{}, false
	}
	return line, true
}

// watchedReader puts the timer off with each read that brings something.
type watchedReader struct {
	r     io.Reader
	timer *time.Timer
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil {
		w.timer.Stop()
	} else {
		w.timer.Reset(streamIdle)
	}
	return n, err
}

// Log calls each with the lines of a build log that are there now.
func (c *Client) Log(ctx context.Context, id string, each func(LogLine) error) error {
	var text []byte
	err := c.do(ctx, call{
		method: http.MethodGet, path: "/deployments/" + url.PathEscape(id) + "/logs", repeatable: true,
		header: map[string]string{"Accept": "text/plain, application/json;q=0.5"},
	}, &text)
	if err != nil {
		return err
	}
	number := int64(0)
	for line := range strings.Lines(string(text)) {
		number++
		if err := each(LogLine{Number: number, Text: strings.TrimSuffix(line, "\n")}); err != nil {
			return err
		}
	}
	return nil
}
