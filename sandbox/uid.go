package sandbox

import "github.com/slipwayhq/slipway/models"

// UIDBase is the first host user id of the range with that slot, when the first
// slot's range begins at first. Each has MinUIDCount ids. CodeSandbox when there
// is no room for it below MaxUID.
func UIDBase(first uint32, slot int) (uint32, error) {
	base := int64(first) + int64(slot)*MinUIDCount
	if base+MinUIDCount > MaxUID {
		return 0, models.Errorf(models.CodeSandbox, "There are no user ids left for another organization; lower SANDBOX_UID_BASE on a new installation.")
	}
	return uint32(base), nil
}
