package api

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestIfMatch_takesListsOfStrongTags(t *testing.T) {
	for field, want := range map[string][]int64{
		"": nil, "*": nil, " * ": nil, `"3"`: {3}, `"3", "4"`: {3, 4}, `"3","x"`: {3}, `,"3",,`: {3},
		`W/"3"`: {}, `"03"`: {}, `"+3"`: {}, `"1-owner"`: {1}, `"-1"`: {}, `""`: {}, `"99999999999999999999"`: {},
	} {
		got, err := IfMatch{field}.versions()
		require.NoError(t, err, field)
		require.Equal(t, want, got, field)
	}
	for _, field := range []string{"3", `"3`, `"3" "4"`, "W/3", `"3";`, "**", ",", `"a b"`} {
		_, err := IfMatch{field}.versions()
		require.Equal(t, models.CodeValidation, models.CodeOf(err), field)
	}
}

func TestIfNoneMatch_comparesWeakly(t *testing.T) {
	for field, want := range map[string]int{`"3"`: 304, `W/"3"`: 304, `"2", "3"`: 304, "*": 304, "": 200, `"2"`: 200, "3": 200, `"3`: 200} {
		require.Equal(t, want, IfNoneMatch{field}.status(entityTag(3)), field)
	}
}

func FuzzIfMatch(f *testing.F) {
	for _, field := range []string{"", "*", `"3"`, `W/"3", "4"`, `"`, ",", `"3"x`} {
		f.Add(field)
	}
	f.Fuzz(func(t *testing.T, field string) {
		versions, err := IfMatch{field}.versions()
		if err == nil && versions == nil {
			return
		}
		for _, version := range versions {
			require.Contains(t, field, strings.TrimSuffix(entityTag(version), `"`))
		}
		IfNoneMatch{field}.status(entityTag(3))
	})
}
