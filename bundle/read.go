package bundle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

// MaxDescriptionBytes bounds the DescriptionFile that Read takes.
const MaxDescriptionBytes = 8 << 20

// Result is a checked bundle.
type Result struct {
	// Worker is complete: its digests and sizes are those of the files. Nil for a
	// site of files only.
	Worker *models.WorkerBundle
	// Assets says that AssetsDir is to be collected.
	Assets bool
	// HTMLHandling and NotFoundHandling are "" where the framework's rule decides.
	HTMLHandling, NotFoundHandling string
}

// Read checks what Run left: the content of the DescriptionFile, and the other
// files of Dir as they were stored, by their paths in it. Whatever wrote them
// may have been taken over by the build, so everything that does not fit is
// models.CodeBuildFailed.
func Read(description []byte, files []models.File) (*Result, error) {
	out, err := decodeDescription(description)
	if err != nil {
		return nil, err
	}
	result := &Result{Assets: out.Assets, HTMLHandling: out.HTMLHandling, NotFoundHandling: out.NotFoundHandling}
	if out.Worker == nil {
		if !out.Assets {
			return nil, damaged("it has neither code nor assets")
		}
		return result, nil
	}
	if problem := checkWorker(out.Worker); problem != "" {
		return nil, damaged("the worker " + problem)
	}
	result.Worker, err = withFiles(out.Worker, files)
	return result, err
}

func decodeDescription(data []byte) (Description, error) {
	var out Description
	if len(data) > MaxDescriptionBytes {
		return out, damaged("its description is too large")
	}
	in := json.NewDecoder(bytes.NewReader(data))
	in.DisallowUnknownFields()
	if err := in.Decode(&out); err != nil || in.More() {
		return out, damaged("its description cannot be read")
	}
	switch {
	case out.Version != descriptionVersion:
		return out, damaged("its description has another version")
	case out.HTMLHandling != "" && !slices.Contains(htmlHandlings, out.HTMLHandling):
		return out, damaged("html_handling is unknown")
	case out.NotFoundHandling != "" && !slices.Contains(notFoundHandlings, out.NotFoundHandling):
		return out, damaged("not_found_handling is unknown")
	}
	return out, nil
}

// checkWorker holds a description to the rules that settings were read by.
func checkWorker(w *models.WorkerBundle) string {
	problems := []string{checkModules(w.Modules), checkFlags(w.CompatibilityFlags), checkVars(w.Vars), checkKV(w.KV)}
	if !isDate(w.CompatibilityDate) {
		problems = append(problems, "has no compatibility date")
	}
	names := map[string]bool{}
	claim := func(name string) {
		if problem := checkBinding(name); problem != "" || names[name] {
			problems = append(problems, fmt.Sprintf("has the name %q in env, which is invalid or taken", clip(name)))
		}
		names[name] = true
	}
	for name := range w.Vars {
		claim(name)
	}
	for _, kv := range w.KV {
		claim(kv.Binding)
	}
	if len(w.Self) > maxNamespaces {
		problems = append(problems, "calls itself by too many names")
	}
	for _, name := range w.Self {
		claim(name)
	}
	if w.Assets != nil {
		problems = append(problems, checkPatterns(w.Assets.RunWorkerFirst))
		if w.Assets.Binding != "" {
			claim(w.Assets.Binding)
		}
	}
	for _, problem := range problems {
		if problem != "" {
			return problem
		}
	}
	return ""
}

// withFiles gives every module the digest and size of its file.
func withFiles(w *models.WorkerBundle, files []models.File) (*models.WorkerBundle, error) {
	byPath := make(map[string]models.File, len(files))
	for _, f := range files {
		byPath[f.Path] = f
	}
	complete := *w
	complete.Version = 1
	complete.Modules = slices.Clone(w.Modules)
	for i := range complete.Modules {
		m := &complete.Modules[i]
		code, ok := byPath["modules/"+strconv.Itoa(i)]
		if !ok {
			return nil, damaged(fmt.Sprintf("the module %q has no file", m.Name))
		}
		m.Digest, m.Size, m.SourceMap = code.Digest, code.Size, ""
		if sourceMap, ok := byPath["maps/"+strconv.Itoa(i)]; ok {
			m.SourceMap = sourceMap.Digest
		}
	}
	if complete.Bytes() > MaxModuleBytes {
		return nil, models.Errorf(models.CodeBuildFailed, "The worker %s.", errTooLarge)
	}
	// ForProject makes the names of namespaces longer.
	const names = maxNamespaces * 256
	if data, err := complete.Encode(); err != nil || len(data) > models.MaxWorkerBundle-names {
		return nil, models.Errorf(models.CodeBuildFailed, "The worker has more modules, or longer names of them, than can be kept.")
	}
	return &complete, nil
}

func damaged(what string) error {
	return models.Errorf(models.CodeBuildFailed, "The bundled worker came out of the build damaged: %s.", strings.TrimSuffix(what, "."))
}
