package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

// files are two modules and a map as the host stored them.
var files = []models.File{
	{Path: "modules/0", Digest: "d0", Size: 10}, {Path: "modules/1", Digest: "d1", Size: 20}, {Path: "maps/0", Digest: "m0", Size: 5}, {Path: "stray", Digest: "s"},
}

// description is a sound one after change.
func description(t testing.TB, change func(*Description)) []byte {
	t.Helper()
	d := Description{Version: descriptionVersion, Assets: true, HTMLHandling: "none", Worker: &models.WorkerBundle{
		CompatibilityDate: "2026-01-01", CompatibilityFlags: []string{"nodejs_compat"},
		Modules: []models.WorkerModule{{Name: "index.js", Type: models.ModuleES}, {Name: "a/b.txt", Type: models.ModuleText}},
		Vars:    map[string]json.RawMessage{"A": json.RawMessage(`"x"`)}, KV: []models.KVBinding{{Binding: "KV"}},
		Assets: &models.WorkerAssets{Binding: "ASSETS", RunWorkerFirst: []string{"/*"}},
	}}
	change(&d)
	data, err := json.Marshal(d)
	require.NoError(t, err)
	return data
}

func TestRead_takesDigestsFromTheFilesAlone(t *testing.T) {
	r, err := Read(description(t, func(d *Description) {
		d.Worker.Modules[0].Digest, d.Worker.Modules[0].Size = "lie", 1<<40
		d.Worker.Modules[1].SourceMap = "lie"
	}), files)
	require.NoError(t, err)
	require.Equal(t, []models.WorkerModule{
		{Name: "index.js", Type: models.ModuleES, Digest: "d0", Size: 10, SourceMap: "m0"},
		{Name: "a/b.txt", Type: models.ModuleText, Digest: "d1", Size: 20},
	}, r.Worker.Modules)
	require.True(t, r.Assets)
	require.Equal(t, "none", r.HTMLHandling)
}

// What can be written and not be read again would fail as the platform's fault.
func TestRead_refusesWhatNoHostWouldRead(t *testing.T) {
	many := []models.File{}
	raw := description(t, func(d *Description) {
		d.Worker.Modules = nil
		for n := range MaxModules {
			d.Worker.Modules = append(d.Worker.Modules, models.WorkerModule{Name: fmt.Sprint(strings.Repeat("A", 200), n), Type: models.ModuleES})
			many = append(many, models.File{Path: fmt.Sprint("modules/", n), Digest: strings.Repeat("d", 64), Size: 1})
		}
	})
	_, err := Read(raw, many)
	require.NoError(t, err)
	// JSON may have < as it is, and Go's has \u003c.
	_, err = Read(bytes.ReplaceAll(raw, []byte("AAAA"), []byte("<<<<")), many)
	require.Equal(t, models.CodeBuildFailed, models.CodeOf(err))
}

func TestRead_believesNothing(t *testing.T) {
	for what, change := range map[string]func(*Description){
		"another version": func(d *Description) { d.Version = 2 },
		"nothing at all":  func(d *Description) { d.Worker, d.Assets = nil, false },
		"no modules":      func(d *Description) { d.Worker.Modules = nil },
		"a module without file": func(d *Description) {
			d.Worker.Modules = append(d.Worker.Modules, models.WorkerModule{Name: "c", Type: models.ModuleText})
		},
		"a name that leaves":     func(d *Description) { d.Worker.Modules[1].Name = "../x" },
		"an absolute name":       func(d *Description) { d.Worker.Modules[1].Name = "/x" },
		"a name with a newline":  func(d *Description) { d.Worker.Modules[1].Name = "a\nb" },
		"a long name":            func(d *Description) { d.Worker.Modules[1].Name = strings.Repeat("x", 300) },
		"a name twice":           func(d *Description) { d.Worker.Modules[1].Name = "index.js" },
		"an unknown kind":        func(d *Description) { d.Worker.Modules[1].Type = "pythonModule" },
		"a main of text":         func(d *Description) { d.Worker.Modules[0].Type = models.ModuleText },
		"no date":                func(d *Description) { d.Worker.CompatibilityDate = "" },
		"a date with more":       func(d *Description) { d.Worker.CompatibilityDate = `2026-01-01", x = "` },
		"a strange flag":         func(d *Description) { d.Worker.CompatibilityFlags = []string{`a", "b`} },
		"too many flags":         func(d *Description) { d.Worker.CompatibilityFlags = make([]string, 101) },
		"a strange binding":      func(d *Description) { d.Worker.KV[0].Binding = `x", y = "` },
		"a strange namespace":    func(d *Description) { d.Worker.KV[0].Namespace = "../other" },
		"a strange variable":     func(d *Description) { d.Worker.Vars["a b"] = json.RawMessage("1") },
		"a name in env twice":    func(d *Description) { d.Worker.Assets.Binding = "KV" },
		"itself by a taken name": func(d *Description) { d.Worker.Self = []string{"KV"} },
		"a strange pattern":      func(d *Description) { d.Worker.Assets.RunWorkerFirst = []string{"/a\n"} },
		"an unknown handling":    func(d *Description) { d.NotFoundHandling = "x" },
		"large variables": func(d *Description) {
			d.Worker.Vars["B"] = json.RawMessage(`"` + strings.Repeat("x", maxVarBytes) + `"`)
		},
	} {
		_, err := Read(description(t, change), files)
		requireDamaged(t, err, what)
	}
	for _, data := range []string{"", "{}", "null", "[]", "{", `{"version":1,"surprise":1}`, string(description(t, func(*Description) {})) + "{}", strings.Repeat(" ", MaxDescriptionBytes+1)} {
		_, err := Read([]byte(data), files)
		requireDamaged(t, err, data[:min(len(data), 40)])
	}
	large := []models.File{{Path: "modules/0", Size: MaxModuleBytes}, {Path: "modules/1", Size: 1}}
	_, err := Read(description(t, func(*Description) {}), large)
	requireDamaged(t, err, "too much code")
	_, err = Read(description(t, func(d *Description) {
		for i := range MaxModules {
			d.Worker.Modules = append(d.Worker.Modules, models.WorkerModule{Name: fmt.Sprint(i), Type: models.ModuleText})
		}
	}), files)
	requireDamaged(t, err, "too many modules")
}

func requireDamaged(t *testing.T, err error, what string) {
	t.Helper()
	require.Error(t, err, what)
	require.Equal(t, models.CodeBuildFailed, models.CodeOf(err), "%s: %v", what, err)
}

func FuzzRead(f *testing.F) {
	f.Add(description(f, func(*Description) {}))
	f.Add([]byte(`{"version":1,"assets":true}`))
	f.Add([]byte(`{"version":1,"worker":{"modules":[{"name":"a","type":"wasm"}],"compatibilityDate":"2026-01-01"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Read(data, files)
		if err != nil {
			require.Equal(t, models.CodeBuildFailed, models.CodeOf(err))
			return
		}
		if r.Worker == nil {
			require.True(t, r.Assets)
			return
		}
		require.Empty(t, checkWorker(r.Worker))
		for _, m := range r.Worker.Modules {
			require.Contains(t, []string{"d0", "d1"}, m.Digest)
			require.Empty(t, models.CheckPath(m.Name, 0))
		}
		encoded, err := r.Worker.Encode()
		require.NoError(t, err)
		_, err = models.DecodeWorkerBundle(encoded)
		require.NoError(t, err)
	})
}
