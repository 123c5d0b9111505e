package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// nextStep says, for a code, what a person can do about it. Codes whose message
// says it already have no entry.
func nextStep(code models.Code) string {
	switch code {
	case models.CodeUnauthorized:
		return "'slipway login' signs you in. Otherwise check the token: --token, SLIPWAY_TOKEN or .slipway/credentials.json, which 'slipway dev' rewrites when it starts."
	case models.CodeForbidden:
		return "'slipway whoami' shows who you act as and what the token may do."
	case models.CodeProjectNotFound:
		return "'slipway list --projects' shows the projects there are. If this folder's project is gone, delete its .slipway/project.json and deploy again."
	case models.CodeDeploymentNotFound:
		return "'slipway list' shows the deployments of this folder's project."
	case models.CodeReleaseNotFound:
		return "'slipway releases' shows the releases of this folder's project."
	case models.CodeNameTaken:
		return "Choose another with --name."
	case models.CodeNotParked, models.CodeNotRunning:
		return "'slipway status <id>' shows where it is."
	case models.CodeDatabase, models.CodeQueue, models.CodeStorage, models.CodeSandbox:
		return "Slipway itself has trouble; GET /health says which part. Trying again later is safe."
	case models.CodeInternal:
		return "Trying again is safe. If it stays, the server's log says more."
	default:
		return ""
	}
}

// errorLines is an error as a person should read it: the message, the details'
// fields, and what to do next.
func errorLines(err error) []string {
	var api *APIError
	if !errors.As(err, &api) {
		return []string{err.Error()}
	}
	lines := []string{err.Error()}
	if details := detailLines(api.Details); len(details) > 1 || !says(err.Error(), details) {
		lines = append(lines, details...)
	}
	if next := nextStep(api.Code); next != "" {
		lines = append(lines, "  "+next)
	}
	tag := fmt.Sprintf("  (%s, HTTP %d", api.Code, api.Status)
	if api.RequestID != "" {
		tag += ", request " + api.RequestID
	}
	return append(lines, tag+")")
}

// says tells whether a message has the words of its details already, as that of a
// single wrong field has.
func says(message string, details []string) bool {
	words := func(text string) string { return strings.Join(strings.Fields(strings.ReplaceAll(text, ":", " ")), " ") }
	return words(message) == words(strings.Join(details, " "))
}

// maxDetailLines keeps a request with a thousand bad paths readable.
const maxDetailLines = 20

// detailLines shows the details of an envelope: a list of fields with messages,
// or an object. Anything else is left to --json.
func detailLines(details json.RawMessage) []string {
	var lines []string
	var fields []map[string]any
	var object map[string]any
	switch {
	case json.Unmarshal(details, &fields) == nil:
		for _, field := range fields {
			lines = append(lines, "  "+fieldLine(field))
		}
	case json.Unmarshal(details, &object) == nil:
		for key, value := range object {
			if text := scalarText(value); text != "" {
				lines = append(lines, "  "+key+": "+text)
			}
		}
		sort.Strings(lines)
		if nested, ok := object["errors"].([]any); ok {
			for _, item := range nested {
				if field, ok := item.(map[string]any); ok {
					lines = append(lines, "  "+fieldLine(field))
				}
			}
		}
	}
	if more := len(lines) - maxDetailLines; more > 0 {
		lines = append(lines[:maxDetailLines], fmt.Sprintf("  … and %d more", more))
	}
	return lines
}

// fieldLine reads the usual names for a place and for what is wrong there.
func fieldLine(field map[string]any) string {
	var place, message string
	for _, key := range []string{"field", "location", "path"} {
		if place == "" {
			place = scalarText(field[key])
		}
	}
	for _, key := range []string{"message", "error", "reason"} {
		if message == "" {
			message = scalarText(field[key])
		}
	}
	if message == "" {
		whole, _ := json.Marshal(field)
		return string(whole)
	}
	return strings.TrimPrefix(place+": "+message, ": ")
}

func scalarText(value any) string {
	switch value.(type) {
	case string, float64, bool:
		return fmt.Sprint(value)
	}
	return ""
}

// errorDocument is an error in the API's own envelope, for --json.
func errorDocument(err error) any {
	document := struct {
		Success bool            `json:"success"`
		Error   string          `json:"error"`
		Message string          `json:"message"`
		Details json.RawMessage `json:"details,omitempty"`
	}{Error: "CLIENT_ERROR", Message: err.Error()}
	var api *APIError
	var unreachable *UnreachableError
	var usage *usageError
	var detached *detachedError
	if errors.As(err, &detached) {
		document.Details, _ = json.Marshal(map[string]string{"deploymentId": detached.deploymentID})
	}
	switch {
	case detached != nil && errors.Is(err, context.Canceled):
		document.Error = "INTERRUPTED"
	case errors.As(err, &api):
		document.Error = string(api.Code)
		if detached == nil {
			document.Details = api.Details
		}
	case errors.As(err, &unreachable):
		document.Error = "UNREACHABLE"
	case errors.As(err, &usage):
		document.Error = "USAGE"
	}
	return document
}

// hasCode says whether err is an answer of the API with one of the codes.
func hasCode(err error, codes ...models.Code) bool {
	var api *APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, code := range codes {
		if api.Code == code {
			return true
		}
	}
	return false
}
