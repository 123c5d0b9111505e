package auth

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDescribe_namesTheRoutesThereAre(t *testing.T) {
	table := (&Auth{}).table()
	routes := describedRoutes()
	require.ElementsMatch(t, slices.Collect(maps.Keys(table)), slices.Collect(maps.Keys(routes)))
	for path, r := range routes {
		assert.Equal(t, strings.HasSuffix(path, "/"), r.last != "", path)
	}
	listed := Describe().Routes()
	require.Len(t, listed, len(table))
	require.Contains(t, listed, "GET /api/auth/reset-password/{token}")
}

func TestDescribe_namesEveryCodeWithItsStatus(t *testing.T) {
	known := documentedErrors()
	for route, r := range describedRoutes() {
		for _, code := range r.errors {
			assert.Contains(t, known, code, route)
		}
	}
	// Those that no route gives, as the request has not got to one.
	none := []string{"NOT_FOUND", "METHOD_NOT_ALLOWED"}
	for _, refusal := range refusalsInSource(t) {
		if slices.Contains(none, refusal.code) {
			continue
		}
		if assert.Contains(t, known, refusal.code) {
			assert.Equal(t, refusal.status, known[refusal.code].status, refusal.code)
		}
	}
}

// refusalsInSource are those that this package's code spells out.
func refusalsInSource(t *testing.T) []failure {
	t.Helper()
	statuses := map[string]int{}
	for status := 400; status < 600; status++ {
		statuses["Status"+strings.NewReplacer(" ", "", "-", "").Replace(http.StatusText(status))] = status
	}
	entries, err := os.ReadDir(".")
	require.NoError(t, err)
	var found []failure
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || name == "openapi.go" {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		ast.Inspect(file, func(node ast.Node) bool {
			var args []ast.Expr
			switch node := node.(type) {
			case *ast.CallExpr:
				if called, ok := node.Fun.(*ast.Ident); ok && called.Name == "refuse" {
					args = node.Args
				}
			case *ast.CompositeLit:
				if kind, ok := node.Type.(*ast.Ident); ok && kind.Name == "failure" {
					args = node.Elts
				}
			}
			if len(args) < 3 {
				return true
			}
			status, named := args[0].(*ast.SelectorExpr)
			code, literal := args[1].(*ast.BasicLit)
			if named && literal {
				text, err := strconv.Unquote(code.Value)
				require.NoError(t, err)
				require.NotZero(t, statuses[status.Sel.Name], status.Sel.Name)
				found = append(found, failure{status: statuses[status.Sel.Name], code: text})
			}
			return true
		})
	}
	require.Greater(t, len(found), 20)
	return found
}

func TestDescribe_keepsWhatADocumentHas(t *testing.T) {
	document, err := Describe().AddTo([]byte(`{"openapi":"3.1.0","tags":[{"name":"A"}],"paths":{"/a":{}},"components":{"securitySchemes":{"session":{"type":"mine"}}}}`))
	require.NoError(t, err)
	var read struct {
		Tags       []struct{ Name string }
		Paths      map[string]any
		Components struct {
			Schemas         map[string]any
			SecuritySchemes map[string]struct{ Type string }
		}
	}
	require.NoError(t, json.Unmarshal(document, &read))
	require.Len(t, read.Tags, 2)
	require.Contains(t, read.Paths, "/a")
	require.Contains(t, read.Paths, "/api/auth/sign-in/email")
	require.Contains(t, read.Components.Schemas, "AuthError")
	require.Equal(t, "mine", read.Components.SecuritySchemes["session"].Type)

	_, err = Describe().AddTo([]byte("[]"))
	require.Error(t, err)
}
