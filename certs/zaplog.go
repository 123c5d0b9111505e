package certs

import (
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// bridge is a zap logger, which certmagic wants, that writes warnings and errors
// to the one log of the process.
func bridge(log logrus.FieldLogger) *zap.Logger { return zap.New(zapCore{log: log}) }

// zapCore is a zapcore.Core.
type zapCore struct {
	log    logrus.FieldLogger
	fields []zapcore.Field
}

// Enabled implements zapcore.Core.
func (z zapCore) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

// With implements zapcore.Core.
func (z zapCore) With(fields []zapcore.Field) zapcore.Core {
	z.fields = append(z.fields[:len(z.fields):len(z.fields)], fields...)
	return z
}

// Check implements zapcore.Core.
func (z zapCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if z.Enabled(entry.Level) {
		return checked.AddCore(entry, z)
	}
	return checked
}

// Write implements zapcore.Core.
func (z zapCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	log := z.log
	for _, field := range append(z.fields[:len(z.fields):len(z.fields)], fields...) {
		if text, ok := fieldText(field); ok {
			log = log.WithField(field.Key, text)
		}
	}
	message := "certificates: " + entry.Message
	// Every failure is told once more, with what follows from it, by our own
	// code: none of certmagic's is more than a warning.
	log.Warn(message)
	return nil
}

// fieldText shows fields of plain types. Others could be anything: accounts,
// keys, certificates.
func fieldText(field zapcore.Field) (string, bool) {
	switch field.Type {
	case zapcore.StringType:
		return field.String, true
	case zapcore.ErrorType:
		return fmt.Sprint(field.Interface), true
	case zapcore.BoolType:
		return fmt.Sprint(field.Integer == 1), true
	case zapcore.Int64Type, zapcore.Int32Type, zapcore.Int16Type, zapcore.Int8Type:
		return fmt.Sprint(field.Integer), true
	case zapcore.DurationType:
		return time.Duration(field.Integer).String(), true
	case zapcore.ArrayMarshalerType:
		list := zapcore.NewMapObjectEncoder()
		field.AddTo(list)
		items, ok := list.Fields[field.Key].([]any)
		for _, item := range items {
			if _, isText := item.(string); !isText {
				return "", false
			}
		}
		return fmt.Sprint(items), ok
	default:
		return "", false
	}
}

// Sync implements zapcore.Core.
func (z zapCore) Sync() error { return nil }
