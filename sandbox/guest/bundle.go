package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/slipwayhq/slipway/bundle"
	"github.com/slipwayhq/slipway/models"
)

// bundleMain reads a bundle.Request from stdin and bundles the worker below the
// working folder. Its exit code says whose the failure is: ExitAbsent when
// there is no worker, ExitRefused when the last line on stderr says all,
// ExitUnbundled when the lines before it matter.
func bundleMain() int {
	var request bundle.Request
	if err := json.NewDecoder(os.Stdin).Decode(&request); err != nil {
		return exit(fmt.Errorf("read the request: %w", err))
	}
	workspace, err := os.Getwd()
	if err != nil {
		return exit(err)
	}
	err = bundle.Run(workspace, request, os.Stdout)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, bundle.ErrNoWorker):
		return ExitAbsent
	case models.CodeOf(err) != models.CodeBuildFailed:
		return exit(err)
	}
	fmt.Fprintln(os.Stderr, models.MessageOf(err))
	if errors.Is(err, bundle.ErrNotBundled) {
		return ExitUnbundled
	}
	return ExitRefused
}
