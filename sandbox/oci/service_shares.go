package oci

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/slipwayhq/slipway/models"
)

// yieldShares is what a service has of the processors while it yields: enough to
// go on, and little beside those who have serviceShares.
const yieldShares = 16

// Yield sets the service's share of processors that are asked for by more than
// there are; see sandbox.Service.
func (s *service) Yield(yield bool) error {
	shares := serviceShares
	if yield {
		shares = yieldShares
	}
	if err := s.provider.cgroups.setShares(s.record.ID, shares); err != nil {
		return models.Wrap(models.CodeSandbox, err, "the service's share of the processors cannot be set")
	}
	return nil
}

// setShares sets a control group's share. One that is gone needs none.
func (c cgroups) setShares(id string, shares int) error {
	group := c.path(id)
	names, value := []string{"cpu" + group + "/cpu.shares", "cpu,cpuacct" + group + "/cpu.shares"}, shares
	if unified() {
		// The runtimes' conversion: 2–262144 shares are a weight of 1–10000.
		names, value = []string{group + "/cpu.weight"}, 1+(shares-2)*9999/262142
	}
	for _, name := range names {
		err := os.WriteFile(filepath.Join(cgroupRoot, name), []byte(strconv.Itoa(value)), 0)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
