// Package leaks fails tests that leave goroutines behind. It is goleak with the
// patience for a busy machine: goleak gives goroutines that are ending less than
// half a second for it.
package leaks

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines may take to end. Only a test that fails waits
// for all of it.
const patience = time.Minute

// VerifyTestMain runs the tests of a package and fails them when a goroutine is
// left. Call it from TestMain; it does not return.
func VerifyTestMain(m goleak.TestingM, options ...goleak.Option) {
	goleak.VerifyTestMain(patient{m, options}, options...)
}

// VerifyNone fails a test that leaves a goroutine, which the options may except.
func VerifyNone(t testing.TB, options ...goleak.Option) {
	t.Helper()
	settle(options)
	goleak.VerifyNone(t, options...)
}

// patient runs tests and then waits for the ends of goroutines.
type patient struct {
	m       goleak.TestingM
	options []goleak.Option
}

func (p patient) Run() int {
	code := p.m.Run()
	if code == 0 {
		settle(p.options)
	}
	return code
}

// settle returns when no goroutine is left, or patience is over.
func settle(options []goleak.Option) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if goleak.Find(options...) == nil {
			return
		}
	}
}
