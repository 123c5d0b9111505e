package upstream

import (
	"errors"
	"fmt"
)

// Stage is how far a request got before it failed.
type Stage int

// The stages, in order.
const (
	// StageClient is the client's own failure: it went away, sent a broken,
	// slow or too long body, or did not read.
	StageClient Stage = iota
	// StageDial means that there was no connection to the server.
	StageDial
	// StageWrite means that the server did not take the request.
	StageWrite
	// StageHead means that the server ended the connection, or was silent for
	// too long, before the answer's head was complete.
	StageHead
	// StageMalformed means that the answer breaks the protocol.
	StageMalformed
	// StageBody means that the answer broke off after its head.
	StageBody
)

// String names the stage for logs.
func (s Stage) String() string {
	switch s {
	case StageClient:
		return "the client's side"
	case StageDial:
		return "connecting"
	case StageWrite:
		return "sending the request"
	case StageHead:
		return "waiting for the answer"
	case StageMalformed:
		return "reading the answer's format"
	case StageBody:
		return "reading the answer's body"
	}
	return "unknown"
}

// Error is a request that failed.
type Error struct {
	Stage Stage
	// Began says that part of the answer has been written.
	Began bool
	Err   error

	// untouched says that the server cannot have acted on the request.
	untouched bool
}

// Error names the stage and the cause.
func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Stage, e.Err) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Began says whether part of an answer was written before err.
func Began(err error) bool {
	var failed *Error
	return errors.As(err, &failed) && failed.Began
}

var (
	// ErrBodyTooLarge is a request body beyond Forwarding.MaxBody.
	ErrBodyTooLarge = errors.New("the request body is too large")
	// ErrInvalidRequest is a request that HTTP/1.1 cannot express.
	ErrInvalidRequest = errors.New("the request cannot be sent as HTTP/1.1")

	errClosed    = errors.New("the server closed the connection")
	errHeadSize  = errors.New("the head is too large")
	errUnasked   = errors.New("the server switched protocols without being asked")
	errContinued = errors.New("too many 1xx answers")
)
