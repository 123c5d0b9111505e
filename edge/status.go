package edge

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// Status is a host's state for health pages and metrics.
type Status struct {
	Workers []WorkerStatus `json:"workers"`
	Counts  Counts         `json:"counts"`
	// MemoryBytes is what all workers hold, MemoryLimit what they may.
	MemoryBytes int64 `json:"memoryBytes"`
	MemoryLimit int64 `json:"memoryLimit"`
	MaxWorkers  int   `json:"maxWorkers"`
}

// WorkerStatus is one worker's.
type WorkerStatus struct {
	ReleaseID      string    `json:"releaseId"`
	OrganizationID string    `json:"organizationId"`
	ProjectID      string    `json:"projectId"`
	WorkerName     string    `json:"workerName"`
	Started        time.Time `json:"started"`
	LastUsed       time.Time `json:"lastUsed"`
	// MemoryBytes is what its control group and its source maps held when last
	// looked at.
	MemoryBytes int64 `json:"memoryBytes"`
	// Requests counts those since its start, Active those now.
	Requests int64 `json:"requests"`
	Active   int64 `json:"active"`
	// Stopping says that it takes no more requests.
	Stopping bool `json:"stopping,omitempty"`
}

// Counts are how often something happened since the host was made.
type Counts struct {
	Starts   int64 `json:"starts"`
	Crashes  int64 `json:"crashes"`
	CPU      int64 `json:"exceededCpu"`
	Memory   int64 `json:"exceededMemory"`
	Idle     int64 `json:"stoppedIdle"`
	MadeRoom int64 `json:"stoppedForRoom"`
}

type counts struct{ starts, crashes, spun, ate, idled, evicted atomic.Int64 }

func (c *counts) crashed(outcome string) {
	c.crashes.Add(1)
	if outcome == outcomeMemory {
		c.ate.Add(1)
	}
}

// Status tells what runs, sorted by release.
func (h *Host) Status() Status {
	s := Status{
		MemoryLimit: h.limits.MemoryBytes, MaxWorkers: h.limits.MaxWorkers,
		Counts: Counts{
			Starts: h.counts.starts.Load(), Crashes: h.counts.crashes.Load(), CPU: h.counts.spun.Load(),
			Memory: h.counts.ate.Load(), Idle: h.counts.idled.Load(), MadeRoom: h.counts.evicted.Load(),
		},
	}
	for _, w := range h.workers() {
		s.MemoryBytes += w.memory.Load()
		s.Workers = append(s.Workers, WorkerStatus{
			ReleaseID: w.release.ID, OrganizationID: w.release.OrganizationID, ProjectID: w.release.ProjectID,
			WorkerName: w.release.WorkerName, Started: w.started, LastUsed: w.idleSince(), MemoryBytes: w.memory.Load(),
			Requests: w.requests.Load(), Active: w.open(), Stopping: w.closing(),
		})
	}
	slices.SortFunc(s.Workers, func(a, b WorkerStatus) int { return cmp.Compare(a.ReleaseID, b.ReleaseID) })
	return s
}
