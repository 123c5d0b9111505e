package edge

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/go-sourcemap/sourcemap"

	"github.com/slipwayhq/slipway/models"
)

// bundlePrefix is where workerd says that a worker's modules are; with the module
// registry of older compatibility dates it says nothing.
const bundlePrefix = "file:///bundle/"

// framePlace is the place in a frame: "at f (main.js:1:2)", "at main.js:1:2".
var framePlace = regexp.MustCompile(`(?:` + regexp.QuoteMeta(bundlePrefix) + `)?([^\s():]+):(\d+)(?::(\d+))?\)?$`)

// sourceMaps turns places in a worker's modules into places in its sources. A map
// is read when it is first needed.
type sourceMaps struct {
	folder  string
	modules map[string]int

	mu   sync.Mutex
	read map[int]*sourcemap.Consumer
}

func newSourceMaps(bundle *models.WorkerBundle, folder string) *sourceMaps {
	maps := &sourceMaps{folder: folder, modules: map[string]int{}, read: map[int]*sourcemap.Consumer{}}
	for i, module := range bundle.Modules {
		if module.SourceMap != "" {
			maps.modules[module.Name] = i
		}
	}
	return maps
}

// rewrite replaces the places in the stack frames of a text.
func (m *sourceMaps) rewrite(text string) string {
	if !strings.Contains(text, "at ") {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if !isFrame(line) {
			continue
		}
		found := framePlace.FindStringSubmatchIndex(line)
		if found == nil {
			continue
		}
		part := func(n int) string {
			if found[2*n] < 0 {
				return ""
			}
			return line[found[2*n]:found[2*n+1]]
		}
		row, _ := strconv.Atoi(part(2))
		column, _ := strconv.Atoi(part(3))
		closing := ""
		if strings.HasSuffix(line, ")") {
			closing = ")"
		}
		lines[i] = line[:found[0]] + m.source(part(1), row, column) + closing
	}
	return strings.Join(lines, "\n")
}

func isFrame(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " "), "at ") }

// source gives "file:line:column". Columns count from 1 here and from 0 in maps.
func (m *sourceMaps) source(module string, line, column int) string {
	same := fmt.Sprintf("%s:%d", module, line)
	if column == 0 {
		return same
	}
	same += ":" + strconv.Itoa(column)
	consumer := m.consumer(module)
	if consumer == nil {
		return same
	}
	file, _, line, column, ok := consumer.Source(line, column-1)
	if !ok || file == "" {
		return same
	}
	return fmt.Sprintf("%s:%d:%d", sourceName(file), line, column+1)
}

// sourceName leaves away how the bundler's folder lies to the project's.
func sourceName(file string) string {
	for strings.HasPrefix(file, "../") || strings.HasPrefix(file, "./") {
		_, file, _ = strings.Cut(file, "/")
	}
	return file
}

func (m *sourceMaps) consumer(module string) *sourcemap.Consumer {
	index, ok := m.modules[module]
	if !ok {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	consumer, ok := m.read[index]
	if !ok {
		if data, err := os.ReadFile(filepath.Join(m.folder, strconv.Itoa(index))); err == nil {
			consumer, _ = sourcemap.Parse("", data)
		}
		m.read[index] = consumer
	}
	return consumer
}
