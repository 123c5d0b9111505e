package framework

import (
	"encoding/json"
	"path"
	"sort"
	"strconv"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// SettingsFile is where a project says how it is built, at its top.
const SettingsFile = "slipway.json"

// nodeMajor is the Node of the toolchain, and the only value of "node".
const nodeMajor = "22"

const (
	maxSettingsBytes = 64 << 10
	maxCommandBytes  = 4 << 10
)

// settings is a parsed slipway.json. Zero fields say nothing.
type settings struct {
	framework string
	install   command
	build     command
	output    string
	root      string // "." unless set
	html      string
	notFound  string
}

// command is a shell command that may be set to nothing: "do not run any".
type command struct {
	set  bool
	line string
}

func readSettings(files Files) (settings, error) {
	content, err := readFile(files, SettingsFile)
	if err != nil {
		return settings{}, err
	}
	if content == nil {
		return settings{root: "."}, nil
	}
	return parseSettings(content)
}

// settingsKeys says how each key is read. An unknown one is an error: a
// misspelled key that is passed over is found much later, or never.
var settingsKeys = map[string]func(*settings, json.RawMessage) string{
	"$schema": func(*settings, json.RawMessage) string { return "" },
	"framework": func(s *settings, raw json.RawMessage) string {
		return choice(raw, &s.framework, Names())
	},
	"installCommand":  func(s *settings, raw json.RawMessage) string { return s.install.parse(raw) },
	"buildCommand":    func(s *settings, raw json.RawMessage) string { return s.build.parse(raw) },
	"outputDirectory": func(s *settings, raw json.RawMessage) string { return folder(raw, &s.output) },
	"rootDirectory":   func(s *settings, raw json.RawMessage) string { return folder(raw, &s.root) },
	"node": func(_ *settings, raw json.RawMessage) string {
		var version string
		var number json.Number
		if json.Unmarshal(raw, &version) != nil && json.Unmarshal(raw, &number) == nil {
			version = number.String()
		}
		if major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), "."); major != nodeMajor {
			return `must be "` + nodeMajor + `", the version builds run with`
		}
		return ""
	},
	"assets": func(s *settings, raw json.RawMessage) string {
		return eachKey(raw, "assets.", assetsKeys, s)
	},
}

var assetsKeys = map[string]func(*settings, json.RawMessage) string{
	"html_handling": func(s *settings, raw json.RawMessage) string {
		return choice(raw, &s.html, []string{HTMLAuto, "force-trailing-slash", "drop-trailing-slash", "none"})
	},
	"not_found_handling": func(s *settings, raw json.RawMessage) string {
		return choice(raw, &s.notFound, []string{NotFoundNone, NotFoundPage, NotFoundSPA})
	},
}

func parseSettings(content []byte) (settings, error) {
	parsed := settings{root: "."}
	if len(content) > maxSettingsBytes {
		return settings{}, models.Errorf(models.CodeValidation, "%s is larger than %d KiB.", SettingsFile, maxSettingsBytes>>10)
	}
	if problem := eachKey(trimBOM(content), "", settingsKeys, &parsed); problem != "" {
		return settings{}, models.Errorf(models.CodeValidation, "%s: %s.", SettingsFile, problem)
	}
	return parsed, nil
}

// eachKey reads an object by a table of its keys and returns the first problem,
// in the order of the keys so that the same file always gets the same answer.
func eachKey(raw json.RawMessage, prefix string, known map[string]func(*settings, json.RawMessage) string, into *settings) string {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		if prefix == "" {
			if err == nil {
				return "must be a JSON object"
			}
			return "is not a valid JSON object (" + err.Error() + ")"
		}
		return strconv.Quote(strings.TrimSuffix(prefix, ".")) + " must be an object"
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		parse, ok := known[name]
		if !ok {
			return "unknown key " + strconv.Quote(prefix+name) + "; known are " + strings.Join(sortedKeys(known), ", ")
		}
		if string(fields[name]) == "null" {
			continue
		}
		if problem := parse(into, fields[name]); problem != "" {
			if name == "assets" {
				return problem // names its own key
			}
			return strconv.Quote(prefix+name) + " " + problem
		}
	}
	return ""
}

func sortedKeys(known map[string]func(*settings, json.RawMessage) string) []string {
	var names []string
	for name := range known {
		if name != "$schema" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

func choice(raw json.RawMessage, into *string, allowed []string) string {
	var value string
	if json.Unmarshal(raw, &value) == nil {
		for _, candidate := range allowed {
			if candidate == value {
				*into = value
				return ""
			}
		}
	}
	return "must be one of " + strings.Join(allowed, ", ")
}

func (c *command) parse(raw json.RawMessage) string {
	var line string
	if json.Unmarshal(raw, &line) != nil {
		return "must be a string, run by sh -c"
	}
	switch {
	case len(line) > maxCommandBytes:
		return "must be " + strconv.Itoa(maxCommandBytes) + " bytes or less"
	case strings.ContainsRune(line, 0):
		return "must not contain a NUL byte"
	}
	c.set, c.line = true, strings.TrimSpace(line)
	return ""
}

func folder(raw json.RawMessage, into *string) string {
	var value string
	if json.Unmarshal(raw, &value) != nil {
		return "must be a string"
	}
	clean, problem := cleanDir(value)
	*into = clean
	return problem
}

// cleanDir takes the usual ways to write a folder below the project ("dist/",
// "./dist", ".") and refuses what would leave it.
func cleanDir(value string) (clean, problem string) {
	trimmed := strings.TrimSuffix(strings.TrimPrefix(value, "./"), "/")
	if trimmed == "." || (trimmed == "" && value == "./") {
		return ".", ""
	}
	if problem := models.CheckPath(trimmed, 0); problem != "" {
		return "", problem
	}
	return path.Clean(trimmed), ""
}

// override puts what slipway.json says over what was detected.
func (s settings) override(plan *Plan) {
	if s.install.set {
		plan.Install = s.install.argv()
		// What a command of the project's own installs does not follow from the
		// lockfile alone.
		plan.Frozen, plan.Reusable = false, false
		plan.InstallInputs, plan.InstallScripts = nil, nil
		plan.InstallDir = plan.Root
	}
	if s.build.set {
		plan.Build = s.build.argv()
	}
	if s.output != "" {
		if plan.Worker != nil && plan.Worker.Required {
			plan.Notes = append(plan.Notes, "slipway.json names an outputDirectory, which makes this a site of files: no worker is deployed.")
		}
		plan.Worker = nil
		plan.OutputDirs, plan.ServerDirs = []string{s.output}, nil
		plan.NoOutput = "Set outputDirectory in slipway.json to the folder that the build writes, from " + plan.Root + "."
	}
	if s.html != "" {
		plan.HTMLHandling, plan.HTMLChosen = s.html, true
	}
	if s.notFound != "" {
		plan.NotFoundHandling, plan.NotFoundChosen = s.notFound, true
	}
}

func (c command) argv() []string {
	if c.line == "" {
		return nil
	}
	return []string{"sh", "-c", c.line}
}
