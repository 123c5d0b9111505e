package api

import (
	"context"
	"net/http"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// ResourceUsage is how much of one quota is used.
type ResourceUsage struct {
	Resource  models.Resource `json:"resource" enum:"deployments,buildMinutes,projects,domains,storageBytes" doc:"What it is a quota of" example:"deployments"`
	Limit     int64           `json:"limit" doc:"How much the organization may use" example:"1000"`
	Used      int64           `json:"used" doc:"How much it uses. It may be above the limit: what is under way is let finish, and limits are lowered" example:"12"`
	Remaining int64           `json:"remaining" doc:"How much is left" example:"988"`
	Unit      string          `json:"unit" enum:"count,minutes,bytes" doc:"What the numbers count" example:"count"`
	ResetsAt  *time.Time      `json:"resetsAt,omitempty" doc:"When used starts anew; not there for what is counted as it is" example:"2025-08-01T00:00:00Z"`
}

// Usage is how much of its quotas an organization uses.
type Usage struct {
	OrganizationID string          `json:"organizationId" doc:"Organization id" example:"org_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	PeriodStart    time.Time       `json:"periodStart" doc:"Since when deployments and build minutes are counted" example:"2025-07-01T00:00:00Z"`
	PeriodEnd      time.Time       `json:"periodEnd" doc:"Until when" example:"2025-08-01T00:00:00Z"`
	Items          []ResourceUsage `json:"items" nullable:"false" doc:"One for each resource, always in the same order"`
}

type usageOutput struct{ Body Usage }

func (s *Server) registerUsage() {
	register(s, route{
		id: "get-usage", method: http.MethodGet, path: "/orgs/{orgId}/usage", tag: "Organizations",
		summary: "What an organization uses of its quotas",
		description: "Deployments and build minutes are counted by the month, in UTC; projects, custom domains and the bytes of releases as they are. " +
			"What would go above a limit is refused with `QUOTA_EXCEEDED`, whose `details` say `resource`, `limit`, `used` and `resetsAt`.",
	}, s.usage)
}

func (s *Server) usage(ctx context.Context, _ *InOrganization) (*usageOutput, error) {
	organization := identityOf(ctx).OrganizationID
	usage, err := s.opts.Store.Usage(ctx, organization)
	if err != nil {
		return nil, err
	}
	answer := Usage{OrganizationID: organization, PeriodStart: stamp(usage.PeriodStart), PeriodEnd: stamp(usage.PeriodEnd)}
	for _, r := range usage.Resources {
		item := ResourceUsage{Resource: r.Resource, Limit: r.Limit, Used: r.Used, Remaining: r.Remaining(), Unit: unitOf(r.Resource)}
		if r.ResetsAt != nil {
			resets := stamp(*r.ResetsAt)
			item.ResetsAt = &resets
		}
		answer.Items = append(answer.Items, item)
	}
	return &usageOutput{answer}, nil
}

func unitOf(r models.Resource) string {
	switch r {
	case models.ResourceBuildMinutes:
		return "minutes"
	case models.ResourceStorage:
		return "bytes"
	default:
		return "count"
	}
}
