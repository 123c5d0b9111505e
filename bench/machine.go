package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// busy is the load average above which figures are worth little.
const busy = 1.0

// describeMachine prints what the figures depend on.
func describeMachine(w io.Writer) {
	load := readLine("/proc/loadavg")
	fmt.Fprintf(w, "machine  %d cores (%s), Linux %s\n", runtime.NumCPU(), cpuModel(), readLine("/proc/sys/kernel/osrelease"))
	fmt.Fprintf(w, "built    %s, commit %s\n", runtime.Version(), commit())
	fmt.Fprintf(w, "load     %s before the start\n", strings.Join(firstFields(load, 3), " "))
	if fields := firstFields(load, 1); len(fields) == 1 {
		if average, err := strconv.ParseFloat(fields[0], 64); err == nil && average > busy {
			fmt.Fprintf(w, "WARNING  this machine is busy with something else: the figures are worth little\n")
		}
	}
}

func readLine(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(content))
}

func firstFields(line string, n int) []string {
	fields := strings.Fields(line)
	return fields[:min(n, len(fields))]
}

func cpuModel() string {
	for line := range strings.Lines(readLine("/proc/cpuinfo")) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown model"
}

// commit names what is measured; a plus sign says that files differ from it.
func commit() string {
	hash, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	name := strings.TrimSpace(string(hash))
	if changed, err := exec.Command("git", "status", "--porcelain", "--untracked-files=no").Output(); err == nil && len(changed) > 0 {
		name += "+"
	}
	return name
}

// repositoryRoot looks upwards from the working directory for the checkout.
func repositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "cmd", "slipway", "main.go"))
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run it inside a checkout of Slipway: go run ./bench")
		}
		dir = parent
	}
}
