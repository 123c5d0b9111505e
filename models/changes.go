package models

import (
	"context"
	"encoding/json"
)

// changesChannel is where triggers tell, with NOTIFY, what a transaction has
// changed (migration 00015).
const changesChannel = "slipway_changes"

// Change says that something of an organization is not as it was. It carries no
// content: who may see the thing reads it.
type Change struct {
	OrganizationID string `json:"organization"`
	// Type is deployment, project, release, domain, rollout, variables, organization,
	// member, invitation, token, webhook, delivery or audit.
	Type string `json:"type"`
	// ID is of the thing; of a member the user's.
	ID string `json:"id"`
	// ProjectID is the project it belongs to, "" for none.
	ProjectID string `json:"project"`
	// Status is how the thing stands, where it has a status; "deleted" when it is gone.
	Status string `json:"status"`
}

// ListenChanges calls notify for every change of any organization, from one
// goroutine, on a connection of its own. connected is called when it listens:
// what changed before that is not told. It returns when the connection ends.
func (s *Store) ListenChanges(ctx context.Context, connected func(), notify func(Change)) error {
	return s.Listen(ctx, changesChannel, connected, func(payload string) {
		var change Change
		if json.Unmarshal([]byte(payload), &change) == nil && change.OrganizationID != "" {
			notify(change)
		}
	})
}
