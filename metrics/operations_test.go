package metrics_test

import (
	"database/sql"
	"encoding/json"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/slipwayhq/slipway/metrics"
)

const operations = "../docs/operations/"

func TestAlerts_nameMetricsThatThereAre(t *testing.T) {
	data, err := os.ReadFile(operations + "alerts.yml")
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Name  string `yaml:"name"`
			Rules []struct {
				Alert       string            `yaml:"alert"`
				Expr        string            `yaml:"expr"`
				Labels      map[string]string `yaml:"labels"`
				Annotations map[string]string `yaml:"annotations"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	require.NoError(t, yaml.Unmarshal(data, &file))
	there := exported(t)
	seen := map[string]bool{}
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			require.False(t, seen[rule.Alert], "%s is there twice", rule.Alert)
			seen[rule.Alert] = true
			require.Contains(t, []string{"page", "ticket"}, rule.Labels["severity"], rule.Alert)
			require.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
			require.NotEmpty(t, rule.Annotations["description"], rule.Alert)
			names := named(rule.Expr)
			require.True(t, len(names) > 0 || strings.HasPrefix(rule.Expr, "up{"), rule.Alert)
			for _, name := range names {
				require.Contains(t, there, name, rule.Alert)
			}
		}
	}
	require.Greater(t, len(seen), 15)
}

func TestDashboard_namesMetricsThatThereAre(t *testing.T) {
	data, err := os.ReadFile(operations + "grafana-dashboard.json")
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			ID      int                            `json:"id"`
			Type    string                         `json:"type"`
			Title   string                         `json:"title"`
			GridPos struct{ X, Y, W, H int }       `json:"gridPos"`
			Targets []struct{ Expr, RefID string } `json:"targets"`
		} `json:"panels"`
	}
	require.NoError(t, json.Unmarshal(data, &dashboard))
	there := exported(t)
	shown := map[string]bool{}
	ids := map[int]bool{}
	for _, panel := range dashboard.Panels {
		require.False(t, ids[panel.ID], "two panels have the id %d", panel.ID)
		ids[panel.ID] = true
		require.LessOrEqual(t, panel.GridPos.X+panel.GridPos.W, 24, panel.Title)
		require.True(t, panel.Type == "row" || len(panel.Targets) > 0, panel.Title)
		for _, target := range panel.Targets {
			names := named(target.Expr)
			require.NotEmpty(t, names, panel.Title)
			for _, name := range names {
				require.Contains(t, there, name, panel.Title)
				shown[name] = true
			}
		}
	}
	var missing []string
	for name := range there {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		if strings.HasPrefix(name, "slipway_") && !shown[base] && !shown[base+"_bucket"] && !shown[base+"_count"] {
			missing = append(missing, base)
		}
	}
	require.Empty(t, missing, "they are measured and not shown")
}

var metricName = regexp.MustCompile(`\b(?:slipway|temporal|go|process)_[a-z0-9_]+`)

// named are the metrics that an expression asks for.
func named(expr string) []string {
	names := metricName.FindAllString(expr, -1)
	slices.Sort(names)
	return slices.Compact(names)
}

// exported are the names of all series: those of the registry that every process
// has, what the code declares, and what the Temporal SDK has.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	r := metrics.New("1.2.3")
	r.MustRegister(collectors.NewDBStatsCollector(&sql.DB{}, "slipway"))
	families, err := r.Gather()
	require.NoError(t, err)
	for _, family := range families {
		all[family.GetName()] = true
	}
	for name, kind := range declared(t) {
		addSeries(all, name, kind == "HistogramOpts")
	}
	for _, name := range temporalMetrics(t) {
		addSeries(all, name, false)
		addSeries(all, strings.TrimSuffix(name, "_total")+"_total", false)
		addSeries(all, name+"_seconds", true)
	}
	return all
}

func addSeries(all map[string]bool, name string, histogram bool) {
	if !histogram {
		all[name] = true
		return
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		all[name+suffix] = true
	}
}

// declared finds the names of metrics in the code, and the type of options or the
// function they are declared with.
func declared(t *testing.T) map[string]string {
	t.Helper()
	names := map[string]string{}
	note := func(literal ast.Expr, kind string) {
		if text, ok := literal.(*ast.BasicLit); ok && text.Kind == token.STRING {
			if name, err := strconv.Unquote(text.Value); err == nil && strings.HasPrefix(name, "slipway_") {
				if kind == "NewDesc" && strings.HasSuffix(name, "_duration_seconds") {
					kind = "HistogramOpts"
				}
				names[name] = kind
			}
		}
	}
	for _, folder := range []string{"activities", "api", "certs", "collect", "dispatcher", "edge", "metrics", "models", "outbound"} {
		err := filepath.WalkDir(filepath.Join("..", folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.CallExpr:
					if of, ok := n.Fun.(*ast.SelectorExpr); ok && of.Sel.Name == "NewDesc" {
						note(n.Args[0], "NewDesc")
					}
				case *ast.CompositeLit:
					of, ok := n.Type.(*ast.SelectorExpr)
					if !ok {
						break
					}
					for _, element := range n.Elts {
						if field, ok := element.(*ast.KeyValueExpr); ok {
							if key, ok := field.Key.(*ast.Ident); ok && key.Name == "Name" {
								note(field.Value, of.Sel.Name)
							}
						}
					}
				}
				return true
			})
			return nil
		})
		require.NoError(t, err)
	}
	require.Greater(t, len(names), 30)
	return names
}

// temporalMetrics are the names in the SDK's own list.
func temporalMetrics(t *testing.T) []string {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "go.temporal.io/sdk").Output()
	require.NoError(t, err)
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, filepath.Join(strings.TrimSpace(string(dir)), "internal/common/metrics/constants.go"), nil, 0)
	require.NoError(t, err)
	pkg, err := new(types.Config).Check("metrics", fset, []*ast.File{file}, nil)
	require.NoError(t, err)
	var names []string
	for _, name := range pkg.Scope().Names() {
		if c, ok := pkg.Scope().Lookup(name).(*types.Const); ok && strings.HasPrefix(constant.StringVal(c.Val()), "temporal_") {
			names = append(names, constant.StringVal(c.Val()))
		}
	}
	require.Greater(t, len(names), 20)
	return names
}

var _ prometheus.Gatherer = (*metrics.Registry)(nil)
