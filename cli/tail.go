package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/slipwayhq/slipway/models"
)

// TailOptions narrow a worker's log.
type TailOptions struct {
	// Release is the only release whose lines come; "" is all.
	Release string
	// Lines is how many earlier ones to begin with.
	Lines int
	// Follow goes on with those to come.
	Follow bool
}

// StreamWorkerLog brings what a project's worker said and says. raw is a line as
// the API wrote it. A broken connection is made again where it broke, for as
// long as ctx lives.
func (c *Client) StreamWorkerLog(ctx context.Context, projectID string, o TailOptions, line func(l models.WorkerLogLine, raw string) error) error {
	query := url.Values{"tail": {strconv.Itoa(o.Lines)}, "follow": {strconv.FormatBool(o.Follow)}}
	if o.Release != "" {
		query.Set("release", o.Release)
	}
	request := call{method: http.MethodGet, path: "/projects/" + url.PathEscape(projectID) + "/logs/stream", query: query}
	var after int64
	return c.stream(ctx, request, &after, func(e event, after *int64) (ended bool, err error) {
		switch e.Name {
		case "end":
			return true, nil
		case "log":
			var l models.WorkerLogLine
			id, err := strconv.ParseInt(e.ID, 10, 64)
			if err != nil || id <= *after || json.Unmarshal([]byte(e.Data), &l) != nil {
				return false, nil
			}
			*after = id
			err = line(l, e.Data)
			return err != nil, err
		}
		return false, nil
	})
}

func (p *program) tailCommand() *cobra.Command {
	var o TailOptions
	var noFollow bool
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Show what a project's worker says, as it says it",
		Long: `Show what the project's server code writes with console.*, its uncaught
exceptions with their stacks, each request with its status, and what Slipway did
to it, such as ending it for computing too long. Goes on until Ctrl-C; a
connection that breaks is made again where it broke. With --json each line is an
object of its own.`,
		Example: `  slipway tail
  slipway tail --project my-site --lines 500 --no-follow
  slipway tail --json | jq 'select(.kind == "exception")'`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Lines < 0 || o.Lines > 10_000 {
				return usagef("--lines is 0 to 10000, not %d", o.Lines)
			}
			client, id, err := p.connectProject(cmd)
			if err != nil {
				return err
			}
			o.Follow = !noFollow
			return client.StreamWorkerLog(cmd.Context(), id, o, p.workerLineWriter(wantsJSON(cmd)))
		},
	}
	cmd.Flags().StringVar(&o.Release, "release", "", "only lines of this release")
	cmd.Flags().IntVar(&o.Lines, "lines", 100, "how many earlier lines to begin with")
	cmd.Flags().BoolVar(&noFollow, "no-follow", false, "end after the lines there are")
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}

// workerLineWriter writes lines to Stdout. Workers are anybody's code: what they
// say is made harmless for a terminal.
func (p *program) workerLineWriter(asJSON bool) func(models.WorkerLogLine, string) error {
	return func(l models.WorkerLogLine, raw string) error {
		text := raw
		if !asJSON {
			text = workerLineText(l)
		}
		_, err := fmt.Fprintln(p.out, text)
		return err
	}
}

func workerLineText(l models.WorkerLogLine) string {
	at := l.Time.Local().Format("15:04:05.000")
	switch l.Kind {
	case models.LogRequest:
		return fmt.Sprintf("%s  %s %s %d  %s  %.0f ms", at, printable(l.Method), printable(l.Path), l.Status, printable(l.Outcome), l.DurationMS)
	case models.LogSystem:
		return fmt.Sprintf("%s  [slipway] %s", at, printable(l.Message))
	case models.LogException:
		text := fmt.Sprintf("%s  [exception] %s", at, printable(l.Message))
		for line := range strings.Lines(l.Stack) {
			text += "\n    " + printable(strings.TrimSpace(line))
		}
		return text
	}
	return fmt.Sprintf("%s  [%s] %s", at, printable(l.Level), printable(l.Message))
}
