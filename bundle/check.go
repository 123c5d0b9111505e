package bundle

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// The checks here hold for both sides: settings are refused early with a good
// message, and a description from a sandbox is checked by the same rules.

var (
	bindingName = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]{0,127}$`)
	flagName    = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,99}$`)
	namespaceID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)
)

// checkBinding says what is wrong with a name in env; "" when nothing is.
func checkBinding(name string) string {
	if !bindingName.MatchString(name) || name == "__proto__" {
		return "must be made of letters, digits and underscores, start with no digit and have at most 128 of them"
	}
	return ""
}

func isDate(text string) bool {
	_, err := time.Parse(time.DateOnly, text)
	return err == nil
}

func checkFlags(flags []string) string {
	if len(flags) > maxFlags {
		return fmt.Sprintf("has more than %d flags", maxFlags)
	}
	for _, flag := range flags {
		if !flagName.MatchString(flag) {
			return fmt.Sprintf("has the flag %q, which is no name of one", clip(flag))
		}
	}
	return ""
}

func checkVars(vars map[string]json.RawMessage) string {
	if len(vars) > maxVars {
		return fmt.Sprintf("has more than %d values", maxVars)
	}
	total := 0
	for name, value := range vars {
		if problem := checkBinding(name); problem != "" {
			return fmt.Sprintf("has the name %q; it %s", clip(name), problem)
		}
		total += len(value)
	}
	if total > maxVarBytes {
		return fmt.Sprintf("is larger than %d KiB", maxVarBytes>>10)
	}
	return ""
}

func checkKV(list []models.KVBinding) string {
	if len(list) > maxNamespaces {
		return fmt.Sprintf("has more than %d namespaces", maxNamespaces)
	}
	for _, kv := range list {
		if problem := checkBinding(kv.Binding); problem != "" {
			return fmt.Sprintf("has the binding %q; it %s", clip(kv.Binding), problem)
		}
		if kv.Namespace != "" && !namespaceID.MatchString(kv.Namespace) {
			return fmt.Sprintf("has the id %q for %s; it must be made of letters, digits and . _ : - and have at most 128 of them", clip(kv.Namespace), kv.Binding)
		}
	}
	return ""
}

// checkPatterns holds run_worker_first to Cloudflare's rules
// (https://developers.cloudflare.com/workers/static-assets/routing/worker-script/).
func checkPatterns(patterns []string) string {
	if len(patterns) > maxPatterns {
		return fmt.Sprintf("has more than %d patterns", maxPatterns)
	}
	positive := false
	for _, pattern := range patterns {
		bare, negative := strings.CutPrefix(pattern, "!")
		if !strings.HasPrefix(bare, "/") || len(pattern) > maxNameBytes || strings.ContainsFunc(bare, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			return fmt.Sprintf(`has the pattern %q; it must begin with "/" or "!/" and have at most %d bytes`, clip(pattern), maxNameBytes)
		}
		positive = positive || !negative
	}
	if len(patterns) > 0 && !positive {
		return `has only patterns with "!"; add one without, such as "/*"`
	}
	return ""
}

// checkModules looks at names and kinds; sizes are those of the files.
func checkModules(list []models.WorkerModule) string {
	switch {
	case len(list) == 0:
		return "has no modules"
	case len(list) > MaxModules:
		return fmt.Sprintf("has more than %d modules", MaxModules)
	}
	if main := list[0].Type; main != models.ModuleES && main != models.ModuleCommonJS {
		return "has a main module that is no JavaScript"
	}
	seen := make(map[string]bool, len(list))
	for _, m := range list {
		if problem := models.CheckPath(m.Name, maxNameBytes); problem != "" {
			return fmt.Sprintf("has a module named %q; a name %s", clip(m.Name), problem)
		}
		if seen[m.Name] {
			return fmt.Sprintf("has two modules named %q", m.Name)
		}
		seen[m.Name] = true
		if !slices.Contains(moduleTypes, m.Type) {
			return fmt.Sprintf("has the module %q of an unknown kind", m.Name)
		}
	}
	return ""
}

var moduleTypes = []models.ModuleType{
	models.ModuleES, models.ModuleCommonJS, models.ModuleText, models.ModuleData, models.ModuleJSON, models.ModuleWasm,
}
