package config

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// settings are the variables of a struct and of those in it, with their defaults.
func settings(of reflect.Type) map[string]string {
	found := map[string]string{}
	for i := range of.NumField() {
		field := of.Field(i)
		if name, ok := field.Tag.Lookup("env"); ok {
			found[name] = field.Tag.Get("envDefault")
			continue
		}
		for name, value := range settings(field.Type) {
			found[name] = value
		}
	}
	return found
}

func TestOperationsPage_hasEverySettingWithItsDefault(t *testing.T) {
	page, err := os.ReadFile("../docs/operations.md")
	require.NoError(t, err)
	// A row may name several variables that have one explanation.
	row := regexp.MustCompile("(?m)^\\| (`[A-Z0-9_]+`(?:, `[A-Z0-9_]+`)*) \\|([^|]*)\\|")
	documented := map[string]string{}
	for _, match := range row.FindAllStringSubmatch(string(page), -1) {
		for name := range strings.SplitSeq(match[1], ", ") {
			documented[strings.Trim(name, "`")] = strings.Trim(strings.TrimSpace(match[2]), "`")
		}
	}
	declared := settings(reflect.TypeFor[Config]())
	require.Greater(t, len(declared), 50)
	for name, value := range declared {
		shown, found := documented[name]
		require.True(t, found, "docs/operations.md lacks a row for %s", name)
		if value != "" {
			require.Equal(t, value, shown, "docs/operations.md has another default of %s", name)
		}
	}
}
