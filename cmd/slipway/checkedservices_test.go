package main

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
)

// lateServices isolate from the third check on.
type lateServices struct {
	sandbox.ServiceProvider
	checks int
}

func (l *lateServices) Check(context.Context) error {
	time.Sleep(time.Second)
	if l.checks++; l.checks < 3 {
		return models.Errorf(models.CodeSandbox, "the disk is full")
	}
	return nil
}

func (l *lateServices) StartService(context.Context, sandbox.ServiceSpec) (sandbox.Service, error) {
	return nil, nil
}

// A machine that was in trouble when the process started serves when it is over,
// and whose patience ended first does not decide for everybody.
func TestCheckedServices_tryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logrus.New()
		log.SetOutput(io.Discard)
		s := newCheckedServices(&lateServices{})
		go func() { require.NoError(t, s.check(t.Context(), log)) }()
		hasty, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := s.StartService(hasty, sandbox.ServiceSpec{})
		require.Equal(t, models.CodeSandbox, models.CodeOf(err))
		time.Sleep(2 * time.Second)
		_, err = s.StartService(t.Context(), sandbox.ServiceSpec{})
		require.ErrorContains(t, err, "the disk is full")
		time.Sleep(3 * checkAgain)
		_, err = s.StartService(t.Context(), sandbox.ServiceSpec{})
		require.NoError(t, err)
	})
}
