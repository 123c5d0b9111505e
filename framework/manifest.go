package framework

import (
	"bytes"
	"encoding/json"
	"path"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// manifest is the part of package.json that decides how a project is built.
type manifest struct {
	Scripts map[string]string
	// Dependencies is where each comes from, usually a range of versions.
	Dependencies   map[string]string
	PackageManager string
	// Main is the module that importing the package gives.
	Main       string
	Workspaces bool
	// Patches says that installed packages are changed by files of the project.
	Patches bool
}

func (m *manifest) dependsOnOneOf(packages []string) bool {
	for _, name := range packages {
		if _, depends := m.Dependencies[name]; depends {
			return true
		}
	}
	return false
}

func (p project) readManifest() (*manifest, error) {
	name := path.Join(p.root, "package.json")
	content, err := readFile(p.files, name)
	if err != nil || content == nil {
		return nil, err
	}
	return parseManifest(name, content)
}

// parseManifest reads a package.json as forgivingly as package managers do: a
// field of an unexpected type is as if it were absent.
func parseManifest(name string, content []byte) (*manifest, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(trimBOM(content), &fields); err != nil {
		return nil, models.Wrap(models.CodeValidation, err, name+" is not a valid JSON object: "+err.Error()+".")
	}
	parsed := &manifest{Scripts: map[string]string{}, Dependencies: map[string]string{}}
	for _, field := range []string{"dependencies", "devDependencies", "optionalDependencies"} {
		for dependency, raw := range object(fields[field]) {
			var from string
			_ = json.Unmarshal(raw, &from) // else as if it were empty
			parsed.Dependencies[dependency] = from
		}
	}
	for script, raw := range object(fields["scripts"]) {
		var command string
		if json.Unmarshal(raw, &command) == nil {
			parsed.Scripts[script] = strings.TrimSpace(command)
		}
	}
	var field string
	if json.Unmarshal(fields["packageManager"], &field) == nil {
		parsed.PackageManager = field
	}
	if json.Unmarshal(fields["main"], &field) == nil {
		parsed.Main = field
	}
	workspaces := bytes.TrimSpace(fields["workspaces"])
	parsed.Workspaces = len(workspaces) > 0 && !bytes.Equal(workspaces, []byte("null")) && !bytes.Equal(workspaces, []byte("[]"))
	parsed.Patches = bytes.Contains(content, []byte(`"patchedDependencies"`)) || bytes.Contains(content, []byte(`"patch:`))
	return parsed, nil
}

func object(raw json.RawMessage) map[string]json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return nil
	}
	return fields
}

// trimBOM drops the mark some editors put before UTF-8; JSON does not allow it
// and package managers skip it.
func trimBOM(content []byte) []byte { return bytes.TrimPrefix(content, []byte("\xef\xbb\xbf")) }
