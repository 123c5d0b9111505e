package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/tidwall/jsonc"

	"github.com/slipwayhq/slipway/models"
)

// Settings are those of a wrangler file that decide how a worker is bundled and
// runs. Paths are as written: relative to the file.
type Settings struct {
	// File is the name the settings were read under, for messages.
	File string
	// Generated says that a build tool wrote the file, not the project's owner.
	Generated bool

	Name               string
	Main               string
	CompatibilityDate  string
	CompatibilityFlags []string
	Vars               map[string]json.RawMessage
	KV                 []models.KVBinding
	// Self are bindings of the worker to itself.
	Self   []string
	Assets *AssetSettings
	// PagesOutput is pages_build_output_dir; "" when the file is not for Pages.
	PagesOutput string

	BuildCommand, BuildDir string

	NoBundle, PreserveFileNames bool
	// FindAdditionalModules is NoBundle when the file does not say.
	FindAdditionalModules *bool
	BaseDir               string
	Rules                 []Rule

	Alias, Define           map[string]string
	Minify, KeepNames       bool
	TSConfig                string
	JSXFactory, JSXFragment string

	services []service

	// Notes are lines for the build log about what has no effect here.
	Notes []string
}

// AssetSettings are wrangler's "assets".
type AssetSettings struct {
	Directory, Binding             string
	HTMLHandling, NotFoundHandling string
	// RunWorkerFirst has the patterns; true is ["/*"].
	RunWorkerFirst []string
}

// Rule says how files become modules, by the glob patterns of their names.
type Rule struct {
	Type        models.ModuleType
	Globs       []string
	Fallthrough bool
}

// ParseSettings reads a wrangler.json, wrangler.jsonc or wrangler.toml; the name
// decides the format and appears in messages. models.CodeBuildFailed names the
// first key that cannot be honoured and says what to do about it.
func ParseSettings(name string, content []byte) (*Settings, error) {
	return parseSettings(name, content, false)
}

// parseSettings also reads what a build tool generated, which asks for some
// things by default.
func parseSettings(name string, content []byte, generated bool) (*Settings, error) {
	s := newSettings(name)
	s.Generated = generated
	if len(content) > maxSettingsBytes {
		return nil, s.errorf("is larger than %d KiB", maxSettingsBytes>>10)
	}
	object, err := s.decode(bytes.TrimPrefix(content, []byte("\ufeff")))
	if err != nil {
		return nil, err
	}
	for _, key := range sortedKeys(object) {
		if err := s.take(key, object[key]); err != nil {
			return nil, err
		}
	}
	if err := s.takeServices(); err != nil {
		return nil, err
	}
	return s, s.checkNames()
}

// findsModules says whether files that the rules match are modules, imported or
// not.
func (s *Settings) findsModules() bool {
	if s.FindAdditionalModules == nil {
		return s.NoBundle
	}
	return *s.FindAdditionalModules
}

// newSettings has wrangler's defaults.
func newSettings(name string) *Settings { return &Settings{File: name, KeepNames: true} }

// decode gives the top level of the file, whatever its format.
func (s *Settings) decode(content []byte) (map[string]json.RawMessage, error) {
	if path.Ext(s.File) == ".toml" {
		var table map[string]any
		if err := toml.Unmarshal(content, &table); err != nil {
			var where *toml.DecodeError
			if errors.As(err, &where) {
				line, column := where.Position()
				return nil, s.errorf("line %d, column %d: %s", line, column, strings.TrimPrefix(where.Error(), "toml: "))
			}
			return nil, s.errorf("is not valid TOML (%s)", err)
		}
		encoded, err := json.Marshal(table)
		if err != nil {
			return nil, s.errorf("has a value that JSON cannot express (%s)", err)
		}
		content = encoded
	} else {
		content = jsonc.ToJSON(content)
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(content, &object); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			line, column := position(content, syntax.Offset)
			return nil, s.errorf("line %d, column %d: %s", line, column, syntax)
		}
		return nil, s.errorf("must hold one object (%s)", err)
	}
	if object == nil {
		return nil, s.errorf("must hold one object")
	}
	return object, nil
}

// position counts from 1; comments were replaced by spaces, so offsets are
// those of the file.
func position(content []byte, offset int64) (line, column int) {
	before := content[:min(max(offset-1, 0), int64(len(content)))]
	return 1 + bytes.Count(before, []byte("\n")), len(before) - bytes.LastIndexByte(before, '\n')
}

// take reads one key of the top level by the table of keys.
func (s *Settings) take(key string, value json.RawMessage) error {
	known, ok := keys[key]
	switch {
	case string(value) == "null":
		return nil
	case ok && known.read != nil:
		if err := known.read(s, value); err != nil {
			return s.keyError(key, err)
		}
		return nil
	case empty(value):
		// Build tools write every key they know with nothing in it.
		return nil
	case !ok:
		return s.errorf("the setting %q is not known here. Remove it, or move what it does into the code", key)
	case known.byDefault != "" && s.Generated:
		s.note("%q%s has no effect here: %s", key, bindingsIn(value), known.byDefault)
	case known.refused != "":
		return s.errorf("the setting %q%s is not supported: %s", key, bindingsIn(value), known.refused)
	case known.note != "":
		s.note("%q has no effect here: %s", key, known.note)
	}
	return nil
}

func (s *Settings) note(format string, args ...any) {
	s.Notes = append(s.Notes, s.File+": "+fmt.Sprintf(format, args...)+".")
}

func (s *Settings) errorf(format string, args ...any) error {
	return models.Errorf(models.CodeBuildFailed, "%s: %s.", s.File, fmt.Sprintf(format, args...))
}

// keyError puts the name of a key before what is wrong with its value.
func (s *Settings) keyError(key string, err error) error {
	var coded *models.Error
	if errors.As(err, &coded) {
		return err
	}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		if kind.Field != "" {
			key += "." + kind.Field
		}
		return s.errorf("%q must not be a JSON %s", key, kind.Value)
	}
	return s.errorf("%q %s", key, err)
}

// checkNames refuses two things under one name of env.
func (s *Settings) checkNames() error {
	taken := map[string]string{}
	claim := func(name, by string) error {
		if problem := checkBinding(name); problem != "" {
			return s.errorf("the name %q in %q %s", clip(name), by, problem)
		}
		if other, twice := taken[name]; twice {
			return s.errorf("the name %q is used twice, in %q and in %q; what a worker finds in env needs names of its own", name, other, by)
		}
		taken[name] = by
		return nil
	}
	for _, name := range sortedKeys(s.Vars) {
		if err := claim(name, "vars"); err != nil {
			return err
		}
	}
	for _, kv := range s.KV {
		if err := claim(kv.Binding, "kv_namespaces"); err != nil {
			return err
		}
	}
	for _, name := range s.Self {
		if err := claim(name, "services"); err != nil {
			return err
		}
	}
	if s.Assets != nil && s.Assets.Binding != "" {
		return claim(s.Assets.Binding, "assets")
	}
	return nil
}

// namedIn is the setting that gives env something of that name; "" for none.
func (s *Settings) namedIn(name string) string {
	_, isVar := s.Vars[name]
	switch {
	case isVar:
		return "vars"
	case slices.ContainsFunc(s.KV, func(kv models.KVBinding) bool { return kv.Binding == name }):
		return "kv_namespaces"
	case slices.Contains(s.Self, name):
		return "services"
	}
	return ""
}

// empty says whether a value asks for nothing: null, false, "", 0, and lists and
// objects of nothing else.
func empty(value json.RawMessage) bool {
	var decoded any
	if json.Unmarshal(value, &decoded) != nil {
		return false
	}
	return isEmpty(decoded)
}

func isEmpty(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case bool:
		return !v
	case string:
		return v == ""
	case float64:
		return v == 0
	case []any:
		return !slices.ContainsFunc(v, func(item any) bool { return !isEmpty(item) })
	case map[string]any:
		for _, item := range v {
			if !isEmpty(item) {
				return false
			}
		}
		return true
	}
	return false
}

// bindingsIn names the bindings that an unsupported setting would make, so that
// the owner finds what in the code needs them.
func bindingsIn(value json.RawMessage) string {
	var decoded any
	if json.Unmarshal(value, &decoded) != nil {
		return ""
	}
	var names []string
	var walk func(value any)
	walk = func(value any) {
		switch v := value.(type) {
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			name := ""
			for _, key := range []string{"binding", "name"} {
				if text, ok := v[key].(string); ok && name == "" {
					name = text
				}
			}
			if name != "" {
				names = append(names, clip(name))
				return
			}
			for _, key := range sortedKeys(v) {
				walk(v[key])
			}
		}
	}
	walk(decoded)
	const shown = 5
	switch {
	case len(names) == 0:
		return ""
	case len(names) > shown:
		names = append(names[:shown], "…")
	}
	return " (" + strings.Join(names, ", ") + ")"
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// clip keeps a hostile name from filling the log.
func clip(text string) string {
	const limit = 120
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}
