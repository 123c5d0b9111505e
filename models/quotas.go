package models

import (
	"context"
	"fmt"
	"time"

	"gorm.io/gorm"
)

// Resource is what an organization has a quota of.
type Resource string

// The resources. Deployments and build minutes are counted anew every month
// (UTC); the others are what there is at the time.
const (
	ResourceDeployments  Resource = "deployments"
	ResourceBuildMinutes Resource = "buildMinutes"
	ResourceProjects     Resource = "projects"
	ResourceDomains      Resource = "domains"
	ResourceStorage      Resource = "storageBytes"
)

// Quotas are the limits of an organization.
type Quotas struct {
	Deployments  int64
	BuildMinutes int64
	Projects     int64
	Domains      int64
	// StorageBytes are of the files of releases; what several releases share
	// because nothing was built between them counts once.
	StorageBytes int64
}

// DefaultQuotas are those of organizations where nothing else is said.
func DefaultQuotas() Quotas {
	return Quotas{Deployments: 1000, BuildMinutes: 3000, Projects: 500, Domains: 500, StorageBytes: 50 << 30}
}

// QuotaChange sets limits; what is nil stays as it is.
type QuotaChange struct {
	Deployments, BuildMinutes, Projects, Domains, StorageBytes *int64
}

// Usage is how much of its quotas an organization uses.
type Usage struct {
	PeriodStart, PeriodEnd time.Time
	Resources              []ResourceUsage
}

// ResourceUsage is one resource of a Usage.
type ResourceUsage struct {
	Resource Resource
	Limit    int64
	// Used may be above Limit: builds under way are let finish, and limits are lowered.
	Used int64
	// ResetsAt is when Used starts anew; nil where it does not.
	ResetsAt *time.Time
}

// Remaining is how much is left.
func (r ResourceUsage) Remaining() int64 { return max(r.Limit-r.Used, 0) }

// SetQuotas changes limits of an organization; CodeOrganizationNotFound.
func (s *Store) SetQuotas(ctx context.Context, organizationID string, change QuotaChange) error {
	values := map[string]any{}
	for column, limit := range map[string]*int64{
		"deployments_limit": change.Deployments, "build_minutes_limit": change.BuildMinutes, "projects_limit": change.Projects,
		"domains_limit": change.Domains, "storage_limit": change.StorageBytes,
	} {
		if limit == nil {
			continue
		}
		if *limit < 0 {
			return Errorf(CodeValidation, "A quota must not be negative.")
		}
		values[column] = *limit
	}
	if len(values) == 0 {
		_, err := readQuota(s.with(ctx), organizationID, "")
		return dbError(err)
	}
	result := s.with(ctx).Model(&Organization{}).Where("id = ?", organizationID).Updates(values)
	if result.Error == nil && result.RowsAffected == 0 {
		return Errorf(CodeOrganizationNotFound, "There is no organization %q.", organizationID)
	}
	return dbError(result.Error)
}

// Usage says what an organization uses of its quotas; CodeOrganizationNotFound.
func (s *Store) Usage(ctx context.Context, organizationID string) (Usage, error) {
	var usage Usage
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		q, err := readQuota(tx, organizationID, "")
		if err != nil {
			return err
		}
		usage = Usage{PeriodStart: q.PeriodStart.UTC(), PeriodEnd: q.PeriodEnd.UTC()}
		for _, resource := range []Resource{ResourceDeployments, ResourceBuildMinutes, ResourceProjects, ResourceDomains, ResourceStorage} {
			r, err := q.usage(tx, resource)
			if err != nil {
				return err
			}
			usage.Resources = append(usage.Resources, r)
		}
		return nil
	})
	return usage, dbError(err)
}

// quota is an organization's row, with its counts of the period that is now.
type quota struct {
	Organization
	Over bool // the period of the row is over
}

// holdQuota reads an organization's quota and holds it until the transaction
// ends, so that counting and adding are one. Who also locks a project does that
// afterwards: the same order everywhere. CodeOrganizationNotFound.
func holdQuota(tx *gorm.DB, organizationID string) (quota, error) {
	q, err := readQuota(tx, organizationID, "FOR NO KEY UPDATE")
	if err != nil || !q.Over {
		return q, err
	}
	return q, tx.Exec("UPDATE organizations SET deployments_used = 0, build_seconds_used = 0, period_start = ?, period_end = ? WHERE id = ?",
		q.PeriodStart, q.PeriodEnd, organizationID).Error
}

func readQuota(tx *gorm.DB, organizationID, lock string) (quota, error) {
	var rows []quota
	err := tx.Raw("SELECT *, period_end <= now() AS over FROM organizations WHERE id = ? "+lock, organizationID).Scan(&rows).Error
	if err != nil {
		return quota{}, err
	}
	if len(rows) == 0 {
		return quota{}, Errorf(CodeOrganizationNotFound, "There is no organization %q.", organizationID)
	}
	q := rows[0]
	if q.Over {
		q.DeploymentsUsed, q.BuildSecondsUsed = 0, 0
		err = tx.Raw("SELECT date_trunc('month', now(), 'UTC'), date_trunc('month', now(), 'UTC') + interval '1 month'").Row().Scan(&q.PeriodStart, &q.PeriodEnd)
	}
	return q, err
}

// usage counts one resource.
func (q quota) usage(tx *gorm.DB, resource Resource) (ResourceUsage, error) {
	r := ResourceUsage{Resource: resource}
	var err error
	resetsAt := q.PeriodEnd.UTC()
	switch resource {
	case ResourceDeployments:
		r.Limit, r.Used, r.ResetsAt = q.DeploymentsLimit, q.DeploymentsUsed, &resetsAt
	case ResourceBuildMinutes:
		// A minute counts when it is over: the last one is used to its end.
		r.Limit, r.Used, r.ResetsAt = q.BuildMinutesLimit, q.BuildSecondsUsed/60, &resetsAt
	case ResourceProjects:
		r.Limit = q.ProjectsLimit
		err = tx.Model(&Project{}).Where("organization_id = ?", q.ID).Count(&r.Used).Error
	case ResourceDomains:
		r.Limit = q.DomainsLimit
		err = tx.Model(&Domain{}).Where("organization_id = ?", q.ID).Count(&r.Used).Error
	case ResourceStorage:
		r.Limit = q.StorageLimit
		err = tx.Raw(`SELECT coalesce(sum(bytes), 0) FROM (
			SELECT max(bytes) AS bytes FROM releases WHERE organization_id = ? GROUP BY `+releaseOutput+`) outputs`, q.ID).Row().Scan(&r.Used)
	}
	return r, err
}

// releaseOutput is what releases with the same files have in common: a column that
// the database makes of output_digest and, in those of an early version that do not
// say what they were made of, the id.
const releaseOutput = "output_key"

// admit refuses, with CodeQuotaExceeded and the numbers, what would take more of
// a resource than there is. The quota is held.
func (q quota) admit(tx *gorm.DB, resource Resource, more int64) error {
	if more == 0 {
		return nil
	}
	r, err := q.usage(tx, resource)
	if err != nil || r.Used+more <= r.Limit {
		return err
	}
	return quotaExceeded(r, more)
}

// admitRelease is admit for the files of a release, unless another one has them.
func (q quota) admitRelease(tx *gorm.DB, r Release) error {
	var same int64
	err := tx.Model(&Release{}).Where("organization_id = ? AND "+releaseOutput+" = ?", q.ID, r.OutputDigest).Limit(1).Count(&same).Error
	if err != nil || same > 0 {
		return err
	}
	return q.admit(tx, ResourceStorage, r.Bytes)
}

// admitTo is admit for the organization given: it holds its quota first.
func admitTo(tx *gorm.DB, organizationID string, resource Resource, more int64) error {
	q, err := holdQuota(tx, organizationID)
	if err != nil {
		return err
	}
	return q.admit(tx, resource, more)
}

func quotaExceeded(r ResourceUsage, more int64) error {
	details := map[string]any{"resource": r.Resource, "limit": r.Limit, "used": r.Used, "needed": more}
	what := map[Resource]string{
		ResourceDeployments: "deployments", ResourceBuildMinutes: "build minutes", ResourceProjects: "projects",
		ResourceDomains: "custom domains", ResourceStorage: "bytes of releases",
	}[r.Resource]
	message := fmt.Sprintf("The organization has used %d of its %d %s", r.Used, r.Limit, what)
	switch {
	case r.ResetsAt != nil:
		details["resetsAt"] = r.ResetsAt
		message += fmt.Sprintf("; the count starts anew on %s.", r.ResetsAt.Format(time.DateOnly))
	case r.Resource == ResourceStorage:
		message += fmt.Sprintf(", and %d more are needed. Delete projects that are not needed, or ask for more.", more)
	default:
		message += ". Remove some that are not needed, or ask for more."
	}
	return Errorf(CodeQuotaExceeded, "%s", message).WithDetails(details)
}
