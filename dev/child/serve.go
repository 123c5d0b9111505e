package child

import (
	"context"
	"errors"
	"fmt"
)

// Kept is a program that a supervisor keeps running.
type Kept struct {
	// Name begins its errors.
	Name string
	// Current is the process there is, and whether the program was stopped for good.
	Current func() (process *Process, stopped bool)
	// Start runs the program anew and returns when it is ready.
	Start func(ctx context.Context) error
	// Stop ends it for good.
	Stop func(ctx context.Context)
}

// Serve keeps the program company until ctx ends, then stops it, or until it
// dies, then returns why. A supervisor may call it again, which starts a program
// that has died anew.
func (k Kept) Serve(ctx context.Context) error {
	process, stopped := k.Current()
	if stopped {
		return errors.New(k.Name + ": stopped")
	}
	select {
	case <-process.Done():
		if err := k.Start(ctx); err != nil {
			return fmt.Errorf("%s: %w", k.Name, err)
		}
		process, _ = k.Current()
	default:
	}
	select {
	case <-ctx.Done():
		k.Stop(context.WithoutCancel(ctx))
		return ctx.Err()
	case <-process.Done():
		if err := process.Err(); err != nil {
			return err
		}
		return errors.New(k.Name + ": the server shut itself down")
	}
}
