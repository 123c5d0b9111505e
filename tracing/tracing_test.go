package tracing_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/tracing"
	"github.com/slipwayhq/slipway/tracing/tracingtest"
)

// asked is the context of a request whose caller traces it, or does not.
func asked(sampled bool) context.Context {
	config := trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, Remote: true}
	if sampled {
		config.TraceFlags = trace.FlagsSampled
	}
	return trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(config))
}

func open(t *testing.T, endpoint string, ratio float64) *tracing.Tracing {
	t.Helper()
	log := logrus.New()
	log.SetOutput(t.Output())
	traces, err := tracing.New(t.Context(), tracing.Options{Endpoint: endpoint, Ratio: ratio, Version: "1.2.3", Log: log})
	require.NoError(t, err)
	return traces
}

func TestTracing_isNothingWithoutAnEndpoint(t *testing.T) {
	traces := open(t, "", 1)
	require.Nil(t, traces)
	require.Nil(t, traces.Gateway())
	require.Nil(t, traces.Worker())
	require.Nil(t, traces.Dispatcher())
	require.Nil(t, traces.SQL())
	client, err := traces.Client()
	require.NoError(t, err)
	require.Empty(t, client)
	worker, err := traces.Workflows()
	require.NoError(t, err)
	require.Empty(t, worker)
	require.NoError(t, traces.Shutdown(t.Context()))
}

func TestTracing_namesASettingThatIsNoURL(t *testing.T) {
	for _, endpoint := range []string{"localhost:4318", "ftp://x", "http://", "://"} {
		_, err := tracing.New(t.Context(), tracing.Options{Endpoint: endpoint})
		require.Equal(t, models.CodeValidation, models.CodeOf(err), endpoint)
		require.ErrorContains(t, err, "OTEL_EXPORTER_OTLP_ENDPOINT")
	}
}

func TestTracing_sendsWhatItIsBeforeItEnds(t *testing.T) {
	receiver := tracingtest.NewReceiver(t)
	traces := open(t, receiver.URL, 1)
	_, span := traces.Worker().Start(t.Context(), "work")
	span.End()
	require.NoError(t, traces.Shutdown(t.Context()))
	spans := receiver.Spans()
	require.Len(t, spans, 1)
	require.Equal(t, "work", spans[0].Name)
	require.Equal(t, tracing.ServiceWorker, spans[0].Service)
	require.Equal(t, "1.2.3", spans[0].Version)
}

func TestTracing_logsOnceThatNobodyTakesTraces(t *testing.T) {
	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	var said bytes.Buffer
	log := logrus.New()
	log.SetOutput(&said)
	traces, err := tracing.New(t.Context(), tracing.Options{Endpoint: refusing.URL, Ratio: 1, Log: log})
	require.NoError(t, err)
	_, span := traces.Worker().Start(t.Context(), "work")
	span.End()
	require.NoError(t, traces.Shutdown(t.Context()))
	require.Contains(t, said.String(), "OTEL_EXPORTER_OTLP_ENDPOINT")
	require.Equal(t, 1, bytes.Count(said.Bytes(), []byte("\n")))
}

func TestGateway_takesACallersWordSoManyTimes(t *testing.T) {
	traces := open(t, tracingtest.NewReceiver(t).URL, 0)
	defer func() { _ = traces.Shutdown(context.Background()) }()
	gateway := traces.Gateway()
	taken, began := 0, time.Now()
	for range 1000 {
		if _, span := gateway.Start(asked(true), "request"); span.SpanContext().IsSampled() {
			taken++
		}
	}
	require.GreaterOrEqual(t, taken, 10)
	most := 20 + 10*time.Since(began).Seconds() // ten at once, and ten a second
	require.LessOrEqual(t, float64(taken), most, "strangers must not have us trace everything")
	always := open(t, tracingtest.NewReceiver(t).URL, 1)
	defer func() { _ = always.Shutdown(context.Background()) }()
	_, span := always.Gateway().Start(asked(false), "request")
	require.False(t, span.SpanContext().IsSampled(), "nor what a caller does not want traced")
	_, span = always.Gateway().Start(context.Background(), "request")
	require.True(t, span.SpanContext().IsSampled())
}

func TestLogHook_namesTheTraceOfALine(t *testing.T) {
	var said bytes.Buffer
	log := logrus.New()
	log.SetOutput(&said)
	log.AddHook(tracing.LogHook{})
	log.WithContext(asked(true)).Info("a")
	require.Contains(t, said.String(), "trace_id=01000000000000000000000000000000")
	said.Reset()
	log.WithContext(asked(false)).Info("b")
	log.Info("c")
	require.NotContains(t, said.String(), "trace_id")
}
