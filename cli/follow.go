package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/models"
)

const (
	// pollEvery is the pause between two looks at a deployment's state.
	pollEvery = 400 * time.Millisecond
	// tickEvery is the pause between two frames of the display.
	tickEvery = 120 * time.Millisecond
	// patience is how long an API that was there may be gone, for a restart,
	// before following gives up. The deployment goes on without us.
	patience = 3 * time.Minute
	// drain is how long the end of the build log may take after the deployment's,
	// and drainQuiet how long it may say nothing when it is not to end, because
	// the deployment is parked.
	drain      = 3 * time.Second
	drainQuiet = 500 * time.Millisecond
)

// follower watches one deployment until nothing more happens to it by itself:
// it has ended, or it is parked.
type follower struct {
	client *Client
	view   view
	id     string
	// withLog says whether build output is shown.
	withLog bool
	// afterLine is the number of the last line that is known already.
	afterLine int64
	// newerThan is the version of a state that is known and over: a retried
	// deployment may show its parked state once more.
	newerThan int64
	// pollEvery, patience and drain are the constants of these names; tests have
	// their own.
	pollEvery, patience, drain time.Duration
}

func newFollower(client *Client, v view, id string) *follower {
	return &follower{client: client, view: v, id: id, withLog: true, pollEvery: pollEvery, patience: patience, drain: drain}
}

// observed is one answer to the question for the state.
type observed struct {
	status models.Status
	raw    json.RawMessage
	err    error
}

// run returns the last state. When ctx ends it returns ctx's error with the
// state it knew.
func (f *follower) run(ctx context.Context) (models.Status, json.RawMessage, error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	states := make(chan observed)
	lines := make(chan LogLine, 256)
	go f.poll(inner, states)
	logDone := make(chan struct{})
	go func() {
		defer close(logDone)
		if f.withLog {
			_ = f.client.StreamLog(inner, f.id, f.afterLine, LogHandlers{Line: func(line LogLine) error { return offer(inner, lines, line) }})
		}
	}()
	// Both goroutines have ended when run returns.
	defer func() {
		cancel()
		for range states {
		}
		<-logDone
	}()

	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	var last observed
	for {
		select {
		case <-ctx.Done():
			return last.status, last.raw, ctx.Err()
		case <-ticker.C:
			f.view.tick()
		case line := <-lines:
			f.view.log(line.Text)
		case state := <-states:
			if state.err != nil {
				return last.status, last.raw, state.err
			}
			last = state
			if settled(state.status) {
				f.drainLog(ctx, state.status, lines, logDone)
				f.view.status(state.status)
				return last.status, last.raw, nil
			}
			f.view.status(state.status)
		}
	}
}

// poll asks for the state again and again, and bears with an API that is away
// for a while.
func (f *follower) poll(ctx context.Context, states chan<- observed) {
	defer close(states)
	lastAnswer := time.Now()
	for {
		status, raw, err := f.client.Status(ctx, f.id)
		var api *APIError
		switch {
		case err == nil && f.newerThan > 0 && status.Version <= f.newerThan && time.Since(lastAnswer) < f.patience:
			if sleep(ctx, f.pollEvery) != nil {
				return
			}
			continue
		case err == nil:
			lastAnswer = time.Now()
		case ctx.Err() != nil:
			return
		case !(errors.As(err, &api) && api.Status < http.StatusInternalServerError) && time.Since(lastAnswer) < f.patience:
			if sleep(ctx, f.pollEvery) != nil {
				return
			}
			continue
		}
		if offer(ctx, states, observed{status, raw, err}) != nil || err != nil || settled(status) {
			return
		}
		if sleep(ctx, f.pollEvery) != nil {
			return
		}
	}
}

// drainLog shows what is left of the build log, for a short while at most.
func (f *follower) drainLog(ctx context.Context, s models.Status, lines <-chan LogLine, logDone <-chan struct{}) {
	patience := f.drain
	if !s.Outcome.Final() {
		patience = drainQuiet
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		select {
		case line := <-lines:
			f.view.log(line.Text)
			if !s.Outcome.Final() {
				deadline.Reset(drainQuiet)
			}
		case <-logDone:
			for {
				select {
				case line := <-lines:
					f.view.log(line.Text)
				default:
					return
				}
			}
		case <-deadline.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// settled says whether nothing more happens unless somebody does something.
func settled(s models.Status) bool {
	return s.Status == models.StatusCompleted || s.Status == models.StatusFailed
}

func offer[T any](ctx context.Context, to chan<- T, value T) error {
	select {
	case to <- value:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// outcomeLines tell how a deployment ended and, unless it succeeded, why and
// what to do next.
func outcomeLines(s models.Status, style style) []string {
	switch s.Outcome {
	case models.OutcomeSucceeded:
		return nil
	case models.OutcomeSuperseded:
		return []string{"Built, but a newer deployment of the project was live already; it stays live."}
	}
	if s.Status == models.StatusCompleted {
		return nil
	}
	head := "The deployment failed"
	var next []string
	switch s.Outcome {
	case models.OutcomeDeadLetter:
		head = "The deployment is parked: Slipway itself had trouble"
		next = []string{
			"What was done so far is kept. When the trouble is over:",
			"  slipway retry " + s.DeploymentID + "     goes on at the step that failed",
			"  slipway abandon " + s.DeploymentID + "   gives it up",
		}
	case models.OutcomeCanceled:
		head = "The deployment was canceled"
	case models.OutcomeAbandoned:
		head = "The deployment was abandoned"
	}
	if s.CurrentStep != "" && s.Outcome != models.OutcomeCanceled && s.Outcome != models.OutcomeAbandoned {
		head += fmt.Sprintf(" (at %s)", s.CurrentStep)
	}
	lines := []string{style.red(head) + "."}
	if s.Error != "" {
		lines = append(lines, "  "+printable(withoutAdvice(s).Error))
	}
	lines = append(lines, diagnosisLines(s.Diagnosis, style)...)
	return append(lines, next...)
}

// withoutAdvice takes out of the errors the advice that the diagnosis gives in a
// line of its own.
func withoutAdvice(s models.Status) models.Status {
	if s.Diagnosis == nil || s.Diagnosis.Advice == "" {
		return s
	}
	trim := func(text string) string {
		return firstOf(strings.TrimSpace(strings.TrimSuffix(text, s.Diagnosis.Advice)), text)
	}
	s.Error = trim(s.Error)
	for _, step := range models.AllSteps() {
		line := s.Steps.Of(step)
		line.Error = trim(line.Error)
	}
	return s
}

// diagnosisLines show what went wrong in a build: the cause, what to do, and the
// end of its output.
func diagnosisLines(d *models.Diagnosis, style style) []string {
	if d == nil {
		return nil
	}
	var lines []string
	if d.Command != "" {
		lines = append(lines, fmt.Sprintf("  command  %s (exit code %d)", printable(d.Command), d.ExitCode))
	}
	if d.Cause != "" {
		lines = append(lines, "  cause    "+printable(d.Cause))
	}
	if d.Advice != "" {
		lines = append(lines, "  advice   "+style.bold(printable(d.Advice)))
	}
	if len(d.Tail) > 0 {
		lines = append(lines, "  The last lines of its output:")
		for _, line := range d.Tail {
			lines = append(lines, style.dim(logLine("│", line)))
		}
	}
	return lines
}
