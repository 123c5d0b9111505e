// Package variables keeps the variables and secrets of projects sealed at rest,
// and hands them to releases: a release carries the values as they were when it
// was made, so that a rollback brings the old ones back with the old code.
package variables

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/seal"
)

// Store reads and writes the rows. models.Store is one.
type Store interface {
	Variables(ctx context.Context, projectID string) ([]models.Variable, error)
	SetVariables(ctx context.Context, projectID string, set []models.Variable, remove []string) error
	ReleaseEnvironment(ctx context.Context, releaseID string) (deploymentID string, sealed []byte, err error)
}

// Vault seals and opens variables. Safe for concurrent use.
type Vault struct {
	store Store
	key   *seal.Key
}

// New makes a vault over the rows of a store.
func New(store Store, key *seal.Key) *Vault { return &Vault{store, key} }

// Set writes the variables given and removes those named, all or none.
// CodeValidation names the first that is wrong, and never a value.
func (v *Vault) Set(ctx context.Context, projectID string, set models.Environment, remove []string) error {
	rows := make([]models.Variable, 0, len(set))
	for name, value := range set {
		if err := models.ValidateVariable(name, value.Value); err != nil {
			return err
		}
		rows = append(rows, models.Variable{
			Name: name, Secret: value.Secret, Sealed: v.key.Seal([]byte(value.Value), variableContext(projectID, name)),
		})
	}
	return v.store.SetVariables(ctx, projectID, rows, remove)
}

// Of opens the variables of a project.
func (v *Vault) Of(ctx context.Context, projectID string) (models.Environment, error) {
	rows, err := v.store.Variables(ctx, projectID)
	if err != nil {
		return nil, err
	}
	return v.Open(projectID, rows)
}

// Open opens rows that were read of a project.
func (v *Vault) Open(projectID string, rows []models.Variable) (models.Environment, error) {
	environment := make(models.Environment, len(rows))
	for _, row := range rows {
		value, err := v.key.Open(row.Sealed, variableContext(projectID, row.Name))
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", row.Name, err)
		}
		environment[row.Name] = models.EnvironmentValue{Value: string(value), Secret: row.Secret}
	}
	return environment, nil
}

// Snapshot seals the project's variables for the release of a deployment; nil
// when it has none.
func (v *Vault) Snapshot(ctx context.Context, projectID, deploymentID string) ([]byte, error) {
	environment, err := v.Of(ctx, projectID)
	if err != nil || len(environment) == 0 {
		return nil, err
	}
	text, err := json.Marshal(environment)
	if err != nil {
		return nil, err
	}
	return v.key.Seal(text, releaseContext(deploymentID)), nil
}

// Environment opens what a release runs with. It is edge.Environment.
func (v *Vault) Environment(ctx context.Context, releaseID string) (models.Environment, error) {
	deploymentID, sealed, err := v.store.ReleaseEnvironment(ctx, releaseID)
	if err != nil || len(sealed) == 0 {
		return nil, err
	}
	text, err := v.key.Open(sealed, releaseContext(deploymentID))
	if err != nil {
		return nil, fmt.Errorf("environment of release %s: %w", releaseID, err)
	}
	var environment models.Environment
	if err := json.Unmarshal(text, &environment); err != nil {
		// The parser's error may repeat a value.
		return nil, errors.New("the environment of release " + releaseID + " is damaged")
	}
	return environment, nil
}

func variableContext(projectID, name string) string { return "variable " + projectID + " " + name }

func releaseContext(deploymentID string) string { return "environment " + deploymentID }
