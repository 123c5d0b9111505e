package models

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gorm.io/gorm"
)

const (
	// nameHold is how long a worker name that was given up stays its organization's.
	nameHold = 30 * 24 * time.Hour
	// MaxHeldNames are how many names an organization holds so, the latest: names are
	// everybody's, and whoever renames in a loop must not take them all.
	MaxHeldNames = 100
)

// ProjectChange is what to change of a project; what is nil stays as it is.
type ProjectChange struct {
	// Name has been through CleanDisplayName.
	Name *string
	// WorkerName has been validated; it is folded here.
	WorkerName *string
}

// ChangeProject changes the settings of an organization's project, all or none,
// and gives the project as it is then. With versions it does so only while the
// project has one of them: CodePreconditionFailed otherwise; nil means any.
// Comparing and changing happen under one lock. CodeProjectNotFound,
// CodeNameTaken.
//
// With a new worker name all routes move in the same transaction; the old name
// and its previews stop answering, domains go on. The old name stays the
// organization's for a while.
func (s *Store) ChangeProject(ctx context.Context, organizationID, id string, change ProjectChange, versions []int64) (Project, error) {
	var row Project
	err := s.with(ctx).Transaction(func(tx *gorm.DB) error {
		before, err := lockProjectOf(tx, organizationID, id)
		if err != nil {
			return err
		}
		if err := CheckVersion(before, versions); err != nil {
			return err
		}
		values := map[string]any{}
		if change.Name != nil && *change.Name != before.Name {
			values["name"] = *change.Name
		}
		if change.WorkerName != nil {
			if name := FoldWorkerName(*change.WorkerName); name != before.WorkerName {
				values["worker_name"] = name
			}
		}
		if len(values) > 0 {
			values["updated_at"] = time.Now().UTC()
			if err := tx.Model(&Project{}).Where("id = ?", id).Updates(values).Error; err != nil {
				return nameTaken(err, fmt.Sprint(values["worker_name"]))
			}
		}
		if err := tx.Where("id = ?", id).Take(&row).Error; err != nil || row.WorkerName == before.WorkerName {
			return err
		}
		if err := holdName(tx, organizationID, before.WorkerName); err != nil {
			return err
		}
		if err := takeHeldName(tx, organizationID, row.WorkerName); err != nil {
			return err
		}
		return renameRoutes(tx, row, before.WorkerName)
	})
	return row, dbError(err)
}

// CheckVersion holds a project against the versions a change is limited to; nil is
// any. CodePreconditionFailed.
func CheckVersion(p Project, versions []int64) error {
	if versions != nil && !slices.Contains(versions, p.Version) {
		return Errorf(CodePreconditionFailed, "The project has changed since you read it. Read it again and repeat this if it still makes sense.")
	}
	return nil
}

// renameRoutes gives a project's routes its new worker name. What the old one was
// is announced first: who has taken note of the new routes has forgotten it.
func renameRoutes(tx *gorm.DB, p Project, before string) error {
	oldKey, newKey := WorkerRouteKey(before), WorkerRouteKey(p.WorkerName)
	err := announce(tx, oldKey, PreviewsKey(before), newKey, PreviewsKey(p.WorkerName))
	if err != nil {
		return err
	}
	return moveRoutes(tx, p.ID, "key = CASE WHEN key = ? THEN ? ELSE key END, worker_name = ?", oldKey, newKey, p.WorkerName)
}

// announce has dispatchers look again at these keys; delivered in their order
// when the transaction is.
func announce(tx *gorm.DB, keys ...string) error {
	for _, key := range keys {
		if err := tx.Exec("SELECT pg_notify(?, ?)", RoutesChannel, key).Error; err != nil {
			return err
		}
	}
	return nil
}

// holdName keeps a name that is given up for its organization, of which the
// MaxHeldNames latest are kept.
func holdName(tx *gorm.DB, organizationID, name string) error {
	return execAll(tx,
		statement{`INSERT INTO retired_names (worker_name, organization_id, until) VALUES (?, ?, clock_timestamp() + make_interval(secs => ?))
			ON CONFLICT (worker_name) DO UPDATE SET organization_id = excluded.organization_id, until = excluded.until`,
			[]any{name, organizationID, nameHold.Seconds()}},
		statement{`DELETE FROM retired_names WHERE worker_name IN
			(SELECT worker_name FROM retired_names WHERE organization_id = ? ORDER BY until DESC, worker_name OFFSET ? FOR UPDATE SKIP LOCKED)`,
			[]any{organizationID, MaxHeldNames}},
	)
}

// takeHeldName ends the hold on a name that was just taken for an organization;
// CodeNameTaken when another one holds it. Called after the name was written:
// before, a name that is being given up at this moment would pass.
func takeHeldName(tx *gorm.DB, organizationID, name string) error {
	if err := tx.Exec("DELETE FROM retired_names WHERE worker_name = ? AND (organization_id = ? OR until <= now())", name, organizationID).Error; err != nil {
		return err
	}
	var held int64
	if err := tx.Table("retired_names").Where("worker_name = ?", name).Count(&held).Error; err != nil {
		return err
	}
	if held > 0 {
		return errNameTaken(name)
	}
	return nil
}

func errNameTaken(name string) *Error {
	return Errorf(CodeNameTaken, "The worker name %q is taken. Choose another.", name)
}

// nameTaken gives the violation of the name's uniqueness its code.
func nameTaken(err error, name string) error {
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		return errNameTaken(name)
	}
	return err
}

// lockProjectOf is lockProject for one of an organization.
func lockProjectOf(tx *gorm.DB, organizationID, id string) (Project, error) {
	p, err := lockProject(tx, id)
	if err == nil && p.OrganizationID != organizationID || CodeOf(err) == CodeProjectNotFound {
		return Project{}, errNoProject(id)
	}
	return p, err
}

func errNoProject(id string) *Error {
	return Errorf(CodeProjectNotFound, "There is no project %q in this organization.", id)
}

// previewsPrefix begins the announcement that all previews of a worker name may
// have changed. They have no rows, and each answers under several addresses.
const previewsPrefix = "p:"

// PreviewsKey is what is announced when a worker name's previews change.
func PreviewsKey(worker string) string { return previewsPrefix + worker }

// PreviewsOf gives the worker name of a PreviewsKey; ok is false for other keys.
func PreviewsOf(key string) (worker string, ok bool) { return strings.CutPrefix(key, previewsPrefix) }
