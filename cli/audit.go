package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// AuditEntry is an entry of the audit log as the API shows it.
type AuditEntry struct {
	ID        string            `json:"id"`
	UserID    string            `json:"userId"`
	TokenID   string            `json:"tokenId"`
	Action    string            `json:"action"`
	Outcome   string            `json:"outcome"`
	Targets   map[string]string `json:"targets"`
	Address   string            `json:"address"`
	CreatedAt time.Time         `json:"createdAt"`
}

// auditPoll is how often --follow looks.
const auditPoll = 2 * time.Second

func (p *program) auditCommand() *cobra.Command {
	var action, user string
	var since sinceFlag
	var limit int
	var follow, export bool
	cmd := &cobra.Command{
		Use: "audit", Short: "Show who did what in your organization", Args: arguments(0, 0),
		Long: `Show who changed what in your organization, from where, newest first, and what was
refused. It is for admins. --export writes all of it as JSON lines, oldest first.`,
		Example: `  slipway audit --since 24h
  slipway audit --action delete-project --json
  slipway audit --export > audit.jsonl
  slipway audit --follow`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if follow && export {
				return usagef("--follow and --export do not go together")
			}
			client, org, err := p.connectOrganization(cmd)
			if err != nil {
				return err
			}
			query := url.Values{}
			since.set(query, "createdAfter")
			for name, value := range map[string]string{"action": action, "userId": user} {
				if value != "" {
					query.Set(name, value)
				}
			}
			path := organizationPath(org, "/audit")
			switch {
			case export:
				return p.exportAudit(cmd.Context(), client, path+"/export", query)
			case follow:
				return p.followAudit(cmd, client, path, query, limit)
			}
			return showList(cmd, p, client, path, query, limit, "Nothing is recorded yet.", auditTable)
		},
	}
	cmd.Flags().StringVar(&action, "action", "", "only this operation, such as delete-project")
	cmd.Flags().StringVar(&user, "user", "", "only what this user did, by id")
	cmd.Flags().Var(&since, "since", "only what is not older: a duration such as 24h, or a time")
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what happens")
	cmd.Flags().BoolVar(&export, "export", false, "write everything as JSON lines")
	addLimitFlag(cmd, &limit)
	addConnectionFlags(cmd)
	return cmd
}

func auditTable(w io.Writer, entries []AuditEntry) {
	fmt.Fprintln(w, "WHEN\tWHO\tACTION\tOUTCOME\tFROM\tWHAT")
	for _, e := range entries {
		fmt.Fprintln(w, auditLine(e))
	}
}

func auditLine(e AuditEntry) string {
	var targets []string
	for _, name := range slices.Sorted(maps.Keys(e.Targets)) {
		targets = append(targets, e.Targets[name])
	}
	return strings.Join([]string{
		e.CreatedAt.Local().Format(time.DateTime), e.UserID, printable(e.Action), printable(e.Outcome), firstOf(printable(e.Address), "-"), oneLine(strings.Join(targets, " ")),
	}, "\t")
}

// exportAudit passes the export on as it comes.
func (p *program) exportAudit(ctx context.Context, client *Client, path string, query url.Values) error {
	response, err := client.send(ctx, call{method: http.MethodGet, path: path, query: query}, nil, "")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		data, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
		if err != nil {
			return err
		}
		return client.answerError(response, data)
	}
	if _, err := io.Copy(p.out, response.Body); err != nil {
		return fmt.Errorf("the export broke off before its end: %w", err)
	}
	return nil
}

// followAudit prints the latest entries and then each one as it is written,
// oldest first; with --json one a line.
func (p *program) followAudit(cmd *cobra.Command, client *Client, path string, query url.Values, limit int) error {
	seen := map[string]bool{}
	columns := tabwriter.NewWriter(p.out, 20, 0, 2, ' ', 0)
	for {
		found, err := collect[json.RawMessage](cmd.Context(), client, path, query, limit)
		if err != nil {
			return err
		}
		fresh := map[string]bool{}
		for _, raw := range slices.Backward(found.Items) {
			var e AuditEntry
			if err := json.Unmarshal(raw, &e); err != nil {
				return err
			}
			if fresh[e.ID] = true; seen[e.ID] {
				continue
			}
			if wantsJSON(cmd) {
				fmt.Fprintf(p.out, "%s\n", raw)
			} else {
				fmt.Fprintln(columns, auditLine(e))
			}
			// Entries are shown to the millisecond; those of the same one come again.
			query.Set("createdAfter", e.CreatedAt.UTC().Format(time.RFC3339Nano))
		}
		if len(fresh) > 0 {
			seen = fresh
		}
		if err := columns.Flush(); err != nil {
			return err
		}
		if err := sleep(cmd.Context(), auditPoll); err != nil {
			return err
		}
		limit = 1000
	}
}
