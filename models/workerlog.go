package models

import "time"

// The kinds of lines in a worker's log.
const (
	// LogConsole is a console.* call of the worker; Level is its name.
	LogConsole = "console"
	// LogException is an uncaught exception with its stack, source-mapped.
	LogException = "exception"
	// LogRequest closes a request: outcome, status, duration.
	LogRequest = "request"
	// LogSystem is what the platform has to say: started, stopped, ended for
	// spinning or for want of memory, lines dropped.
	LogSystem = "system"
)

// WorkerLogLine is one line of a worker's log.
type WorkerLogLine struct {
	Time      time.Time `json:"time"`
	ReleaseID string    `json:"releaseId"`
	Kind      string    `json:"kind"`
	// Level is debug, info, log, warn or error.
	Level   string `json:"level"`
	Message string `json:"message"`
	// Stack is an exception's, one frame a line.
	Stack string `json:"stack,omitempty"`
	// RequestID is that of the request during which it was said; "" for none.
	RequestID string `json:"requestId,omitempty"`
	// The rest is for LogRequest. Outcome is workerd's word: ok, exception,
	// canceled, exceededCpu, exceededMemory, unknown.
	Method     string  `json:"method,omitempty"`
	Path       string  `json:"path,omitempty"`
	Status     int     `json:"status,omitempty"`
	Outcome    string  `json:"outcome,omitempty"`
	DurationMS float64 `json:"durationMs,omitempty"`
}
