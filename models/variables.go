package models

import (
	"context"
	"regexp"
	"time"
	"unicode/utf8"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

// Limits of a project's variables; Cloudflare's own
// (https://developers.cloudflare.com/workers/platform/limits/#environment-variables).
const (
	MaxVariables     = 128
	MaxVariableBytes = 5 << 10
)

// EnvironmentValue is one variable as a worker gets it.
type EnvironmentValue struct {
	Value string `json:"value"`
	// Secret values are never shown and masked in logs.
	Secret bool `json:"secret,omitempty"`
}

// Environment is what a worker finds in env besides its bindings, by name.
type Environment map[string]EnvironmentValue

// Variable is a project's variable or secret. The value is sealed.
type Variable struct {
	ProjectID string `gorm:"primaryKey"`
	Name      string `gorm:"primaryKey"`
	Sealed    []byte
	Secret    bool
	UpdatedAt time.Time
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// ValidateVariable says whether a name and value may be a variable's. The error
// is a CodeValidation that does not repeat the value.
func ValidateVariable(name, value string) error {
	switch {
	case !variableName.MatchString(name):
		return Errorf(CodeValidation, "A variable's name starts with a letter or _ and has letters, digits and _ only, 128 at most; %q does not.", name)
	case name == "__proto__":
		return Errorf(CodeValidation, "A worker would not find a variable named __proto__: that is JavaScript's own.")
	case len(value) > MaxVariableBytes:
		return Errorf(CodeValidation, "The value of %s has %d bytes; %d are allowed.", name, len(value), MaxVariableBytes)
	case !utf8.ValidString(value):
		return Errorf(CodeValidation, "The value of %s is not UTF-8 text. Encode binary values, in base64 for example.", name)
	}
	return nil
}

// SetVariables writes and removes variables of a project in one transaction.
// CodeValidation when the project would have more than MaxVariables.
func (s *Store) SetVariables(ctx context.Context, projectID string, set []Variable, remove []string) error {
	return dbError(s.with(ctx).Transaction(func(tx *gorm.DB) error {
		if _, err := lockProject(tx, projectID); err != nil {
			return err
		}
		if len(remove) > 0 {
			if err := tx.Where("project_id = ? AND name IN ?", projectID, remove).Delete(&Variable{}).Error; err != nil {
				return err
			}
		}
		for _, v := range set {
			v.ProjectID, v.UpdatedAt = projectID, time.Now().UTC()
			if err := tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&v).Error; err != nil {
				return err
			}
		}
		var n int64
		if err := tx.Model(&Variable{}).Where("project_id = ?", projectID).Count(&n).Error; err != nil {
			return err
		}
		if n > MaxVariables {
			return Errorf(CodeValidation, "A project has at most %d variables; this would make %d. Remove some first.", MaxVariables, n)
		}
		return nil
	}))
}

// Variables lists a project's variables by name, values sealed.
func (s *Store) Variables(ctx context.Context, projectID string) ([]Variable, error) {
	var rows []Variable
	err := s.with(ctx).Where("project_id = ?", projectID).Order("name").Find(&rows).Error
	return rows, dbError(err)
}

// ReleaseEnvironment reads the sealed environment of a release and the
// deployment it was sealed for; CodeReleaseNotFound.
func (s *Store) ReleaseEnvironment(ctx context.Context, releaseID string) (deploymentID string, sealed []byte, err error) {
	var row Release
	err = s.with(ctx).Select("deployment_id", "environment").Where("id = ?", releaseID).Take(&row).Error
	return row.DeploymentID, row.Environment, notFound(err, Errorf(CodeReleaseNotFound, "There is no release %q.", releaseID))
}
