package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Variable is a variable or secret as the API shows it; secrets have no value.
type Variable struct {
	Name      string    `json:"name"`
	Value     *string   `json:"value,omitempty"`
	Secret    bool      `json:"secret"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// VariableChange is the body of PATCH /projects/{id}/variables.
type VariableChange struct {
	Set    []VariableValue `json:"set,omitempty"`
	Remove []string        `json:"remove,omitempty"`
	Deploy bool            `json:"deploy"`
}

// VariableValue is a variable to set.
type VariableValue struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Secret bool   `json:"secret,omitempty"`
}

func variablesPath(project string) string {
	return "/projects/" + url.PathEscape(project) + "/variables"
}

// ChangeVariables sets and removes variables, all or none. DeploymentID is that
// of the new release; "" when nothing is live or none was asked for.
func (c *Client) ChangeVariables(ctx context.Context, projectID string, change VariableChange) (deploymentID string, raw json.RawMessage, err error) {
	if err := c.do(ctx, call{method: http.MethodPatch, path: variablesPath(projectID), body: change}, &raw); err != nil {
		return "", nil, err
	}
	var answer struct {
		DeploymentID string `json:"deploymentId"`
	}
	err = json.Unmarshal(raw, &answer)
	return answer.DeploymentID, raw, err
}

func (p *program) envCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Show and change a project's variables and secrets",
		Long: `Variables and secrets are what a project's server code finds in env. A release
keeps the values it was made with; a change makes a new release of what is live,
without a build, and a rollback brings the old values back.`,
		Example: `  slipway env list
  slipway env set GREETING=hello
  slipway env set --secret API_KEY < key.txt
  slipway env unset GREETING`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.envListCommand(), p.envSetCommand(), p.envUnsetCommand())
	return cmd
}

func (p *program) envListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List variables and secrets", Args: arguments(0, 0),
		Long:    "List the project's variables. The values of secrets are never shown.",
		Example: `  slipway env list --project my-site --json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return showProjectList(cmd, p, variablesPath, 1000, "There is no variable yet; 'slipway env set NAME=value' makes one.", variableTable)
		},
	}
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
	return cmd
}

func variableTable(w io.Writer, variables []Variable) {
	fmt.Fprintln(w, "NAME\tVALUE\tCHANGED")
	now := time.Now()
	for _, v := range variables {
		value := "(secret)"
		if v.Value != nil {
			value = printable(*v.Value)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", v.Name, value, formatAge(v.UpdatedAt, now))
	}
}

func (p *program) envSetCommand() *cobra.Command {
	var secret, later bool
	var file string
	cmd := &cobra.Command{
		Use:   "set [NAME=value …]",
		Short: "Set variables or secrets",
		Long: `Set variables, or secrets with --secret, and put them live. A NAME without a value
takes it from standard input, so that a secret stays out of the shell's history.
--file reads lines of NAME=value, as .env files have them.`,
		Example: `  slipway env set GREETING=hello COLOR=blue
  slipway env set --secret API_KEY < key.txt
  slipway env set --secret --file .env.production
  slipway env set GREETING=hello --later     count from the next deployment on`,
		Args: arguments(0, 128),
		RunE: func(cmd *cobra.Command, args []string) error {
			values, err := p.valuesToSet(args, file, secret)
			if err != nil {
				return err
			}
			return p.changeEnv(cmd, VariableChange{Set: values, Deploy: !later})
		},
	}
	cmd.Flags().BoolVar(&secret, "secret", false, "never show the values again, and mask them in logs")
	cmd.Flags().StringVarP(&file, "file", "f", "", "file with lines of NAME=value")
	addEnvFlags(cmd, &later)
	return cmd
}

func (p *program) envUnsetCommand() *cobra.Command {
	var later bool
	cmd := &cobra.Command{
		Use: "unset NAME …", Aliases: []string{"rm"}, Short: "Remove variables or secrets", Args: arguments(1, 128),
		Long:    "Remove variables and put that live. Names that are not there are no error.",
		Example: `  slipway env unset GREETING COLOR`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.changeEnv(cmd, VariableChange{Remove: args, Deploy: !later})
		},
	}
	addEnvFlags(cmd, &later)
	return cmd
}

func addEnvFlags(cmd *cobra.Command, later *bool) {
	cmd.Flags().BoolVar(later, "later", false, "make no new release now; count from the next deployment on")
	addConnectionFlags(cmd)
	addProjectFlags(cmd)
}

// valuesToSet collects what the arguments, the file and standard input say.
func (p *program) valuesToSet(args []string, file string, secret bool) ([]VariableValue, error) {
	var values []VariableValue
	fromInput := false
	for _, arg := range args {
		name, value, given := strings.Cut(arg, "=")
		if !given {
			if fromInput {
				return nil, usagef("only one NAME can take its value from standard input")
			}
			fromInput = true
			text, err := io.ReadAll(io.LimitReader(p.in, 1<<20))
			if err != nil {
				return nil, fmt.Errorf("read the value of %s: %w", name, err)
			}
			value = strings.TrimRight(string(text), "\r\n")
		}
		values = append(values, VariableValue{Name: name, Value: value, Secret: secret})
	}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		more, err := parseEnvFile(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, v := range more {
			v.Secret = secret
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return nil, usagef("set needs NAME=value or --file")
	}
	return values, nil
}

// parseEnvFile reads lines of NAME=value. Empty lines and comments are passed
// over, "export " before a name too; quotes around a whole value go away, and
// inside double ones \n, \" and \\ mean what they do in a shell.
func parseEnvFile(text string) ([]VariableValue, error) {
	var values []VariableValue
	for number, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if !ok {
			return nil, fmt.Errorf("line %d is not NAME=value", number+1)
		}
		values = append(values, VariableValue{Name: strings.TrimSpace(name), Value: unquote(strings.TrimSpace(value))})
	}
	return values, nil
}

func unquote(value string) string {
	if len(value) < 2 || value[0] != value[len(value)-1] {
		return value
	}
	switch value[0] {
	case '\'':
		return value[1 : len(value)-1]
	case '"':
		return strings.NewReplacer(`\n`, "\n", `\"`, `"`, `\\`, `\`).Replace(value[1 : len(value)-1])
	}
	return value
}

// changeEnv sends a change and watches the deployment that brings it live.
func (p *program) changeEnv(cmd *cobra.Command, change VariableChange) error {
	client, id, err := p.connectProject(cmd)
	if err != nil {
		return err
	}
	deployment, raw, err := client.ChangeVariables(cmd.Context(), id, change)
	if err != nil {
		return err
	}
	if deployment == "" {
		if wantsJSON(cmd) {
			return p.printJSON(raw)
		}
		fmt.Fprintln(p.err, "Kept. It counts from the next deployment on.")
		return nil
	}
	v := newView(p.err, wantsJSON(cmd))
	defer v.close()
	return p.watch(cmd, newFollower(client, v, deployment))
}
