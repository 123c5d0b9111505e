package tracing

import (
	"github.com/sirupsen/logrus"
	"go.opentelemetry.io/otel/trace"
)

// TraceID is the field of a log line that names its trace.
const TraceID = "trace_id"

// LogHook adds the id of its trace to each log line that is written with a
// context of one that is sent.
type LogHook struct{}

// Levels is logrus.Hook.
func (LogHook) Levels() []logrus.Level { return logrus.AllLevels }

// Fire is logrus.Hook.
func (LogHook) Fire(entry *logrus.Entry) error {
	if entry.Context == nil {
		return nil
	}
	if span := trace.SpanContextFromContext(entry.Context); span.IsSampled() {
		entry.Data[TraceID] = span.TraceID().String()
	}
	return nil
}
