package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// view shows a deployment as it goes. All calls come from one goroutine.
type view interface {
	// note shows a line of our own.
	note(text string)
	// upload shows how far sending the files is; the zero state ends that.
	upload(u uploadState)
	// status shows a new state.
	status(s models.Status)
	// log shows a line of build output.
	log(line string)
	// tick is called a few times a second, for clocks and spinners.
	tick()
	// close ends the showing; what is on the screen stays.
	close()
}

// newView chooses by what it writes to: nothing with JSON, moving lines on a
// terminal, one plain line per happening elsewhere.
func newView(w io.Writer, quiet bool) view {
	switch {
	case quiet:
		return silentView{}
	case isTerminal(w):
		return &terminalView{screen: newScreen(w), style: newStyle(w), clock: newStepClock(time.Now)}
	default:
		return &plainView{w: w, clock: newStepClock(time.Now)}
	}
}

// silentView shows nothing.
type silentView struct{}

func (silentView) note(string)          {}
func (silentView) upload(uploadState)   {}
func (silentView) status(models.Status) {}
func (silentView) log(string)           {}
func (silentView) tick()                {}
func (silentView) close()               {}

// stepClock measures steps. While one runs it goes by this machine's clock from
// when the step was first seen, because the server's clock may differ; once it
// has ended, by the server's two timestamps. Those count the time a step was
// parked as well, so that they give way to what was seen here when they are much
// longer: who retries a deployment wants to know what the retry took.
type stepClock struct {
	now   func() time.Time
	seen  map[models.Step]time.Time
	ended map[models.Step]time.Time
}

func newStepClock(now func() time.Time) *stepClock {
	return &stepClock{now: now, seen: make(map[models.Step]time.Time), ended: make(map[models.Step]time.Time)}
}

// clockTolerance is how much longer than what was seen a step may have taken
// without having been parked: it is seen some time after it began.
const clockTolerance = 5 * time.Second

func (c *stepClock) took(step models.Step, s models.StepStatus) time.Duration {
	if s.Status == models.StepInProgress {
		if _, ok := c.seen[step]; !ok {
			c.seen[step] = c.now()
		}
		return c.now().Sub(c.seen[step])
	}
	if s.StartedAt == nil || s.Timestamp == nil {
		return 0
	}
	took := s.Timestamp.Sub(*s.StartedAt)
	began, ok := c.seen[step]
	if !ok {
		return took
	}
	if _, known := c.ended[step]; !known {
		c.ended[step] = c.now()
	}
	if here := c.ended[step].Sub(began); took > here+clockTolerance {
		return here
	}
	return took
}

// plainView writes one line for each thing that happens, for logs and pipes.
type plainView struct {
	w       io.Writer
	clock   *stepClock
	states  map[models.Step]models.StepState
	started bool
}

func (v *plainView) note(text string) { fmt.Fprintln(v.w, text) }

func (v *plainView) upload(uploadState) {}

func (v *plainView) status(s models.Status) {
	s = withoutAdvice(s)
	if v.states == nil {
		v.states = make(map[models.Step]models.StepState)
	}
	if s.Status == models.StatusQueued && !v.started {
		fmt.Fprintln(v.w, "Queued")
	}
	v.started = true
	for _, step := range models.AllSteps() {
		line := s.Steps.Of(step)
		if v.states[step] == line.Status || line.Status == models.StepPending {
			continue
		}
		took := v.clock.took(step, *line)
		v.states[step] = line.Status
		fmt.Fprintf(v.w, "[%s] %s\n", step, stepText(*line, took))
	}
}

func (v *plainView) log(line string) { fmt.Fprintln(v.w, logLine("|", line)) }
func (v *plainView) tick()           {}
func (v *plainView) close()          {}

// logLine is a line of build output as it is shown.
func logLine(rule, line string) string {
	return strings.TrimRight("  "+rule+" "+printable(line), " ")
}

// stepText describes a step's state.
func stepText(s models.StepStatus, took time.Duration) string {
	switch {
	case s.Status == models.StepInProgress:
		return "started"
	case s.Skipped && s.Reason != "":
		return "skipped: " + printable(s.Reason)
	case s.Skipped:
		return "skipped"
	case s.Status == models.StepCompleted:
		return "completed in " + formatDuration(took)
	case s.Status == models.StepFailed && s.Error != "":
		return "failed: " + printable(s.Error)
	default:
		return string(s.Status)
	}
}

// terminalView shows the six steps and a bar that move in place, with the build
// output running above them.
type terminalView struct {
	screen  *screen
	style   style
	clock   *stepClock
	current models.Status
	sending uploadState
	started time.Time
	frame   int
	closed  bool
}

func (v *terminalView) note(text string) { v.screen.print(text) }

func (v *terminalView) upload(u uploadState) {
	v.sending = u
	v.redraw()
}

func (v *terminalView) status(s models.Status) {
	if v.started.IsZero() {
		v.started = v.clock.now()
	}
	v.current = withoutAdvice(s)
	v.redraw()
}

func (v *terminalView) log(line string) {
	v.screen.print(v.style.dim(logLine("│", line)))
}

func (v *terminalView) tick() {
	v.frame++
	v.redraw()
}

func (v *terminalView) close() {
	if !v.closed {
		v.closed = true
		v.redraw()
		v.screen.release()
	}
}

func (v *terminalView) redraw() {
	switch {
	case v.current.DeploymentID != "":
		v.screen.draw(v.stepLines())
	case v.sending.total > 0:
		v.screen.draw([]string{v.uploadLine()})
	default:
		v.screen.draw(nil)
	}
}

// barColumns is the width of a progress bar.
const barColumns = 30

func (v *terminalView) uploadLine() string {
	u := v.sending
	done := 1.0
	if u.totalBytes > 0 {
		done = float64(u.sentBytes) / float64(u.totalBytes)
	}
	return fmt.Sprintf("  Uploading %s %d of %s, %s of %s", v.style.cyan(bar(done, barColumns)),
		u.sent, plural(u.total, "file"), formatBytes(u.sentBytes), formatBytes(u.totalBytes))
}

func (v *terminalView) stepLines() []string {
	lines := []string{""}
	for _, step := range models.AllSteps() {
		lines = append(lines, v.stepLine(step))
	}
	elapsed := formatDuration(v.clock.now().Sub(v.started))
	progress := fmt.Sprintf("  %s %3d%%  %s", v.style.cyan(bar(float64(v.current.Progress)/models.ProgressDone, barColumns)), v.current.Progress, elapsed)
	if v.current.Status == models.StatusQueued {
		progress += v.style.dim("  queued")
	}
	if v.current.Stale {
		progress += v.style.dim("  (no worker answers; last recorded state)")
	}
	return append(lines, progress)
}

func (v *terminalView) stepLine(step models.Step) string {
	s := *v.current.Steps.Of(step)
	took := v.clock.took(step, s)
	name := fmt.Sprintf("%-9s", step)
	switch s.Status {
	case models.StepInProgress:
		spinner := []rune("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏")
		return fmt.Sprintf("  %s %s %s", v.style.cyan(string(spinner[v.frame%len(spinner)])), v.style.bold(name), formatDuration(took))
	case models.StepCompleted:
		if s.Skipped {
			return v.style.dim(strings.TrimRight("  - "+name+" "+stepText(s, took), " "))
		}
		return fmt.Sprintf("  %s %s %s", v.style.green("✓"), name, v.style.dim(formatDuration(took)))
	case models.StepFailed:
		return fmt.Sprintf("  %s %s %s", v.style.red("✗"), v.style.bold(name), v.style.red(stepText(s, took)))
	default:
		return v.style.dim("  · " + name)
	}
}
