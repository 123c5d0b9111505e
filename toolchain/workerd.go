package toolchain

import (
	"fmt"
	"strings"
	"time"
)

// workerdLead is how far workerd's newest compatibility date lies after the date
// in its version.
const workerdLead = 7 * 24 * time.Hour

// LatestCompatibilityDate is the newest compatibility date that the pinned
// workerd takes at the time now, as 2006-01-02. workerd refuses what it does not
// know yet, and what is in the future.
func LatestCompatibilityDate(now time.Time) (string, error) {
	versions, err := pinnedVersions()
	if err != nil {
		return "", err
	}
	const pkg = "@cloudflare/workerd-linux-64"
	parts := strings.Split(versions[pkg], ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("the toolchain's %s has the version %q, which names no date", pkg, versions[pkg])
	}
	released, err := time.Parse("20060102", parts[1])
	if err != nil {
		return "", fmt.Errorf("the toolchain's %s has the version %q, which names no date: %w", pkg, versions[pkg], err)
	}
	return min(released.Add(workerdLead).Format(time.DateOnly), now.UTC().Format(time.DateOnly)), nil
}
