package worker

import (
	"fmt"

	"github.com/sirupsen/logrus"
	temporallog "go.temporal.io/sdk/log"
)

// TemporalLogger lets the Temporal SDK log through the process's one logger.
func TemporalLogger(log logrus.FieldLogger) temporallog.Logger { return temporalLogger{log} }

type temporalLogger struct{ log logrus.FieldLogger }

func (l temporalLogger) with(keyvals []any) logrus.FieldLogger {
	fields := make(logrus.Fields, len(keyvals)/2)
	for i := 0; i+1 < len(keyvals); i += 2 {
		fields[fmt.Sprint(keyvals[i])] = keyvals[i+1]
	}
	return l.log.WithFields(fields)
}

// Debug logs at debug level; so do the others at theirs.
func (l temporalLogger) Debug(msg string, keyvals ...any) { l.with(keyvals).Debug(msg) }
func (l temporalLogger) Info(msg string, keyvals ...any)  { l.with(keyvals).Debug(msg) }
func (l temporalLogger) Warn(msg string, keyvals ...any)  { l.with(keyvals).Warn(msg) }
func (l temporalLogger) Error(msg string, keyvals ...any) { l.with(keyvals).Error(msg) }
