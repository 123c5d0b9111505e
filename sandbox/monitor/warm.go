package monitor

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// warmer saves a start about 10 ms. A runtime moves the program it starts into
// control groups, and for the first move in a while the kernel waits until every
// processor has passed through the scheduler (the RCU grace period of
// cgroup_threadgroup_rwsem). Moving this process to where it is changes nothing
// and has that wait over, next to the runtime's own beginnings, when the runtime
// needs it. Where it is not allowed, nothing is gained and nothing lost.
//
// Hosts whose control groups are mounted with "favordynmods" never wait.
type warmer struct {
	launches atomic.Int64
	wake     chan struct{}
}

// warmPeriod is less than a grace period: the kernel stays ready meanwhile.
const warmPeriod = 4 * time.Millisecond

func newWarmer() *warmer {
	w := &warmer{wake: make(chan struct{}, 1)}
	go w.run()
	return w
}

// begin and end go around a runtime's call.
func (w *warmer) begin() {
	w.launches.Add(1)
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *warmer) end() { w.launches.Add(-1) }

func (w *warmer) run() {
	for range w.wake {
		for w.launches.Load() > 0 && stayInPlace() {
			time.Sleep(warmPeriod)
		}
	}
}

// stayInPlace moves this process into the control group it is in, of one
// hierarchy: the lock is the same for all.
func stayInPlace() bool {
	content, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(content)) {
		// "0::/path" is the unified hierarchy; beside those of version 1 it is
		// mounted a folder further down.
		own, unified := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !unified || strings.HasPrefix(own, "/..") {
			continue
		}
		for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
			file, err := os.OpenFile(filepath.Join(root, own, "cgroup.procs"), os.O_WRONLY, 0)
			if err != nil {
				continue
			}
			_, err = file.WriteString("0")
			_ = file.Close()
			return err == nil
		}
	}
	return false
}
