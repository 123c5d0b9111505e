package models_test

import (
	"strings"
	"testing"

	"github.com/slipwayhq/slipway/models"
	"github.com/stretchr/testify/require"
)

func TestValidateWorkerName_saysWhatIsWrongInTheAgreedWords(t *testing.T) {
	for _, c := range []struct{ name, message string }{
		{"", "Subdomain is required"},
		{" \t", "Subdomain is required"},
		{"api", "Subdomain 'api' is reserved"},
		{"API", "Subdomain 'API' is reserved"},
		{"a.b", "Subdomain can only contain letters, numbers, and hyphens"},
		{"a_b", "Subdomain can only contain letters, numbers, and hyphens"},
		{" a", "Subdomain can only contain letters, numbers, and hyphens"},
		{"\u212a", "Subdomain can only contain letters, numbers, and hyphens"},
		{strings.Repeat("é", 64), "Subdomain can only contain letters, numbers, and hyphens"},
		{strings.Repeat("a", 64), "Subdomain must be 63 characters or less"},
		{"-a", "Subdomain cannot start or end with a hyphen"},
		{"a-", "Subdomain cannot start or end with a hyphen"},
		{"-", "Subdomain cannot start or end with a hyphen"},
	} {
		err := models.ValidateWorkerName(c.name, models.ReservedWorkerNames())
		require.Error(t, err, "name %q", c.name)
		require.Equal(t, c.message, models.MessageOf(err), "name %q", c.name)
		require.Equal(t, models.CodeValidation, models.CodeOf(err))
	}
}

func TestValidateWorkerName_acceptsLettersOfEitherCaseDigitsAndHyphens(t *testing.T) {
	for _, name := range []string{"a", "0", "my-app", "My-App", "a--b", "xn--bcher-kva", strings.Repeat("a", 63)} {
		require.NoError(t, models.ValidateWorkerName(name, models.ReservedWorkerNames()), "name %q", name)
	}
	require.NoError(t, models.ValidateWorkerName("api", nil), "only the names given are reserved")
}

func TestValidateNewWorkerName_leavesRoomForAReleaseAddress(t *testing.T) {
	require.NoError(t, models.ValidateNewWorkerName(strings.Repeat("a", 40), nil))
	require.EqualError(t, models.ValidateNewWorkerName(strings.Repeat("a", 41), nil), "A new subdomain must be 40 characters or less")
	require.EqualError(t, models.ValidateNewWorkerName("a--b", nil), "A new subdomain cannot contain two hyphens in a row")
	require.EqualError(t, models.ValidateNewWorkerName("a-", nil), "Subdomain cannot start or end with a hyphen")
}

func TestFoldWorkerName_foldsOnlyASCII(t *testing.T) {
	require.Equal(t, "my-app9", models.FoldWorkerName("My-APP9"))
	require.Equal(t, "\u212a", models.FoldWorkerName("\u212a"))
	require.Equal(t, "same", models.FoldWorkerName("same"))
}

func FuzzValidateWorkerName(f *testing.F) {
	for _, seed := range []string{"", "a", "A-b", "-", "a--b", "api", "\xff", "\u212a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		reserved := models.ReservedWorkerNames()
		if models.ValidateWorkerName(name, reserved) != nil {
			return
		}
		folded := models.FoldWorkerName(name)
		require.NoError(t, models.ValidateWorkerName(folded, reserved))
		require.Regexp(t, `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`, folded)
	})
}
