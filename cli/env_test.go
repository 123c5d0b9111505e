package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEnv_setsListsAndRemoves(t *testing.T) {
	g := newGateway(t)
	project, err := g.store.CreateProject(t.Context(), g.owner.OrganizationID, "Shop", "shop")
	require.NoError(t, err)
	got := run(t, "env", "set", "--project", "shop", "GREETING=a=b")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Contains(t, got.err, "from the next deployment on")
	file := filepath.Join(t.TempDir(), ".env")
	require.NoError(t, os.WriteFile(file, []byte("# keys\nexport API_KEY=\"hunter2\\n\"\nB='x y'\n\n"), 0o600))
	got = run(t, "env", "set", "--project", project.ID, "--secret", "--file", file)
	require.Equal(t, ExitOK, got.code, got.err)
	got = run(t, "env", "list", "--project", "shop")
	require.Regexp(t, `(?s)NAME +VALUE +CHANGED\nAPI_KEY +\(secret\) .*\nB +\(secret\) .*\nGREETING +a=b `, got.out)
	require.NotContains(t, got.out+got.err, "hunter2")
	got = run(t, "env", "unset", "--project", "shop", "API_KEY", "B", "GREETING")
	require.Equal(t, ExitOK, got.code, got.err)
	require.Contains(t, run(t, "env", "list", "--project", "shop").err, "no variable yet")
}

func TestParseEnvFile_readsTheUsualForms(t *testing.T) {
	values, err := parseEnvFile("A=1\n  export B = two words \nC=\"x\\\"y\\\\n\"\nD='\\n'\nE=\n#F=1\r\nG=\"open\n")
	require.NoError(t, err)
	require.Equal(t, []VariableValue{
		{Name: "A", Value: "1"}, {Name: "B", Value: "two words"}, {Name: "C", Value: `x"y\n`}, {Name: "D", Value: `\n`}, {Name: "E"}, {Name: "G", Value: `"open`},
	}, values)
	_, err = parseEnvFile("A=1\nnonsense\n")
	require.ErrorContains(t, err, "line 2")
}
