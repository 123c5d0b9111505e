package oci

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a service costs beyond its program: compare with BenchmarkService_bare.
func BenchmarkService_startExitDestroy(b *testing.B) {
	p := newProvider(b)
	for b.Loop() {
		s := startService(b, p, testService("bench", "/bin/true"))
		<-s.Done()
		require.NoError(b, s.Destroy(b.Context()))
	}
}

func BenchmarkService_bare(b *testing.B) {
	for b.Loop() {
		require.NoError(b, exec.Command("/bin/true").Run())
	}
}

// Cold start: from nothing to the first answer of a Worker.
func BenchmarkService_workerdFirstAnswer(b *testing.B) {
	p := newProvider(b)
	w := newWorker(b, okWorker)
	took := &durations{}
	for b.Loop() {
		spec := w.service(b, "bench")
		began := time.Now()
		s := startService(b, p, spec)
		took.started = append(took.started, time.Since(began))
		_, err := w.get("/")
		took.answered = append(took.answered, time.Since(began))
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, s.Destroy(b.Context()))
		b.StartTimer()
	}
	took.report(b)
}

func BenchmarkService_workerdFirstAnswerBare(b *testing.B) {
	w := newWorker(b, okWorker)
	took := &durations{}
	for b.Loop() {
		listener := w.listen(b)
		began := time.Now()
		args := w.args(w.folder, w.program)
		cmd := exec.Command(args[0], args[1:]...)
		cmd.ExtraFiles = []*os.File{listener}
		cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
		require.NoError(b, cmd.Start())
		_, err := w.get("/")
		took.answered = append(took.answered, time.Since(began))
		require.NoError(b, err)
		b.StopTimer()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		b.StartTimer()
	}
	took.report(b)
}

// Fifty at a time.
func BenchmarkService_fiftyAtOnce(b *testing.B) {
	p := newProvider(b)
	for b.Loop() {
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				s, err := p.StartService(b.Context(), testService(fmt.Sprintf("bench%d", i), "/bin/true"))
				if err != nil {
					b.Error(err)
					return
				}
				<-s.Done()
				if err := s.Destroy(b.Context()); err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
	}
}

func BenchmarkService_usage(b *testing.B) {
	p := newProvider(b)
	s := startService(b, p, testService("bench", "/bin/sleep", "600"))
	b.ReportAllocs()
	for b.Loop() {
		_, err := s.Usage()
		require.NoError(b, err)
	}
}

// durations keeps what single starts took, for the median and the worst.
type durations struct{ started, answered []time.Duration }

func (d *durations) report(b *testing.B) {
	for name, list := range map[string][]time.Duration{"started": d.started, "answered": d.answered} {
		if len(list) == 0 {
			continue
		}
		slices.Sort(list)
		for at, rank := range map[string]int{"p50": len(list) / 2, "p99": len(list) * 99 / 100} {
			var unit bytes.Buffer
			fmt.Fprintf(&unit, "ms-%s-%s", name, at)
			b.ReportMetric(float64(list[rank].Microseconds())/1000, unit.String())
		}
	}
}
