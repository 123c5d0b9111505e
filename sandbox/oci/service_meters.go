package oci

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/slipwayhq/slipway/sandbox"
)

// meters are the files of a control group that tell what it uses, open since its
// start: they are read several times a second for every service of a host.
type meters struct {
	mu sync.Mutex
	// cpu is cpuacct.usage, in nanoseconds, or cpu.stat of the unified hierarchy.
	cpu, memory, pids *os.File
	unified           bool
	last              sandbox.Usage
}

// openMeters opens what there is. What is absent reads as zero: a program may
// have ended and been removed already.
func (c cgroups) openMeters(id string) *meters {
	m := &meters{unified: unified()}
	open := func(names ...string) *os.File {
		for _, name := range names {
			if file, err := os.Open(filepath.Join(cgroupRoot, name)); err == nil {
				return file
			}
		}
		return nil
	}
	group := c.path(id)
	if m.unified {
		m.cpu = open(group + "/cpu.stat")
		m.memory = open(group + "/memory.current")
		m.pids = open(group + "/pids.current")
		return m
	}
	m.cpu = open("cpuacct"+group+"/cpuacct.usage", "cpu,cpuacct"+group+"/cpuacct.usage")
	m.memory = open("memory" + group + "/memory.usage_in_bytes")
	m.pids = open("pids" + group + "/pids.current")
	return m
}

// read reads them; once they are closed, or the group is gone, what they said
// last.
func (m *meters) read() (sandbox.Usage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cpu == nil || m.memory == nil || m.pids == nil {
		return m.last, nil
	}
	cpu, err := m.readCPU()
	if err != nil {
		return m.last, err
	}
	memory, err := readMeter(m.memory)
	if err != nil {
		return m.last, err
	}
	pids, err := readMeter(m.pids)
	if err != nil {
		return m.last, err
	}
	m.last = sandbox.Usage{CPU: cpu, MemoryBytes: memory, PIDs: pids}
	return m.last, nil
}

func (m *meters) readCPU() (time.Duration, error) {
	if !m.unified {
		nanoseconds, err := readMeter(m.cpu)
		return time.Duration(nanoseconds), err
	}
	microseconds, err := readMeter(m.cpu)
	return time.Duration(microseconds) * time.Microsecond, err
}

// readMeter reads the first number of a file: all there is, or the value of
// usage_usec, with which cpu.stat begins.
func readMeter(file *os.File) (int64, error) {
	var buffer [64]byte
	n, err := file.ReadAt(buffer[:], 0)
	if n == 0 {
		return 0, fmt.Errorf("read %s: %w", file.Name(), err)
	}
	line, _, _ := bytes.Cut(buffer[:n], []byte("\n"))
	line = bytes.TrimPrefix(line, []byte("usage_usec "))
	return strconv.ParseInt(string(line), 10, 64)
}

// close keeps what they say now.
func (m *meters) close() {
	_, _ = m.read()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, file := range []**os.File{&m.cpu, &m.memory, &m.pids} {
		if *file != nil {
			_ = (*file).Close()
			*file = nil
		}
	}
	m.last.MemoryBytes, m.last.PIDs = 0, 0
}
