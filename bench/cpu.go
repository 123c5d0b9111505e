package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// tick is what /proc counts CPU time in: USER_HZ, which Linux fixed at 100 for
// every architecture Go runs on.
const tick = time.Second / 100

// cpuTime is what a process and its descendants have used so far, in user and
// kernel mode, children that ended included.
func cpuTime(root int) (time.Duration, error) {
	family, err := family(root)
	if err != nil {
		return 0, err
	}
	var ticks int64
	for _, stat := range family {
		ticks += stat.ticks
	}
	return time.Duration(ticks) * tick, nil
}

// family is a process with its descendants.
func family(root int) ([]processStat, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	all := make(map[int]processStat, len(paths))
	for _, path := range paths {
		stat, err := readStat(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, errGone) {
			continue // it ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		all[stat.pid] = stat
	}
	if _, ok := all[root]; !ok {
		return nil, fmt.Errorf("process %d has ended", root)
	}
	var members []processStat
	for pid, stat := range all {
		if descends(all, pid, root) {
			members = append(members, stat)
		}
	}
	return members, nil
}

func descends(all map[int]processStat, pid, root int) bool {
	for pid > 1 {
		if pid == root {
			return true
		}
		pid = all[pid].parent
	}
	return false
}

// processStat is the part of /proc/<pid>/stat that matters here, see proc(5).
type processStat struct {
	pid, parent int
	// ticks is utime + stime + cutime + cstime.
	ticks int64
}

// errGone is what reading the stat of a process that just ended gives.
var errGone = errors.New("the process has ended")

func readStat(path string) (processStat, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			err = errGone // ESRCH
		}
		return processStat{}, err
	}
	return parseStat(content)
}

func parseStat(content []byte) (s processStat, err error) {
	// The program's name stands in parentheses and may hold anything.
	end := bytes.LastIndexByte(content, ')')
	begin := bytes.IndexByte(content, '(')
	if begin < 1 || end < begin {
		return s, fmt.Errorf("not a stat line: %q", content)
	}
	if s.pid, err = strconv.Atoi(string(bytes.TrimSpace(content[:begin]))); err != nil {
		return s, err
	}
	fields := bytes.Fields(content[end+1:]) // from field 3, the state, on
	if len(fields) < 15 {
		return s, fmt.Errorf("a short stat line: %q", content)
	}
	if s.parent, err = strconv.Atoi(string(fields[1])); err != nil {
		return s, err
	}
	for _, field := range fields[11:15] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return s, err
		}
		s.ticks += n
	}
	return s, nil
}
