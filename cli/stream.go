package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/slipwayhq/slipway/models"
)

const (
	// streamIdle is how long a stream may say nothing, comments included, before
	// its connection counts as dead. The API sends a comment every 15 s.
	streamIdle = time.Minute
	// maxReconnectPause bounds the growing pause between two connections.
	maxReconnectPause = 5 * time.Second
)

// LogLine is one line of a build log; numbers begin at 1.
type LogLine struct {
	Number int64  `json:"line"`
	Text   string `json:"text"`
}

// LogHandlers take what a log stream brings. An error of either ends the stream.
type LogHandlers struct {
	Line func(LogLine) error
	// Status, when not nil, takes the deployment's state whenever it changes.
	Status func(models.Status) error
}

// StreamLog brings the build log's lines after the given number, those that are
// there and those to come, until the deployment has ended. A broken connection
// is made again where it broke, for as long as ctx lives. Besides that, an answer
// of the API that will not change ends it (CodeDeploymentNotFound,
// CodeUnauthorized).
func (c *Client) StreamLog(ctx context.Context, id string, after int64, to LogHandlers) error {
	path := "/deployments/" + url.PathEscape(id) + "/logs/stream"
	return c.stream(ctx, call{method: http.MethodGet, path: path}, &after, to.take)
}

// stream reads server-sent events and hands them to take until it says that
// there is nothing more or ctx ends. after is the id of the last event taken, as
// a number; take moves it on, and a connection that breaks is made again there.
func (c *Client) stream(ctx context.Context, request call, after *int64, take func(e event, after *int64) (ended bool, err error)) error {
	pause := c.firstPause
	for {
		before := *after
		ended, err := c.streamOnce(ctx, request, after, take)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if ended {
			return err
		}
		if *after > before {
			pause = c.firstPause
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, maxReconnectPause)
	}
}

// streamOnce reads one connection. ended says that there is nothing more to read.
func (c *Client) streamOnce(ctx context.Context, request call, after *int64, take func(event, *int64) (bool, error)) (ended bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	request.header = map[string]string{"Accept": "text/event-stream", "Cache-Control": "no-cache"}
	if *after > 0 {
		request.header["Last-Event-ID"] = strconv.FormatInt(*after, 10)
	}
	// The timer also bounds how long the answer's head may take.
	idle := time.AfterFunc(streamIdle, cancel)
	defer idle.Stop()
	response, err := c.send(ctx, request, nil, "")
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		data, _ := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		mayChange := response.StatusCode >= 500 || response.StatusCode == http.StatusTooManyRequests
		return !mayChange, c.answerError(response, data)
	}
	events := newEventReader(&watchedReader{r: response.Body, timer: idle})
	for {
		e, err := events.Next()
		if err != nil {
			return false, err
		}
		if ended, err := take(e, after); ended {
			return true, err
		}
	}
}

// take handles one event; kinds it does not know are for newer clients.
func (to LogHandlers) take(e event, after *int64) (ended bool, err error) {
	switch e.Name {
	case "end":
		return true, nil
	case "log":
		var line LogLine
		if json.Unmarshal([]byte(e.Data), &line) != nil || line.Number <= *after {
			return false, nil
		}
		*after = line.Number
		err = to.Line(line)
	case "status":
		var status models.Status
		if to.Status == nil || json.Unmarshal([]byte(e.Data), &status) != nil {
			return false, nil
		}
		err = to.Status(status)
	}
	return err != nil, err
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
	if err := c.get(ctx, "/deployments/"+url.PathEscape(id)+"/logs", url.Values{"format": {"jsonl"}}, &text); err != nil {
		return err
	}
	for data := range bytes.Lines(text) {
		var line LogLine
		if err := json.Unmarshal(data, &line); err != nil {
			return fmt.Errorf("%s sent a log line that cannot be read: %w", c.base, err)
		}
		if err := each(line); err != nil {
			return err
		}
	}
	return nil
}
