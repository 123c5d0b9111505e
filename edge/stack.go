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

// bundlePrefix is where workerd says that a worker's modules are.
const bundlePrefix = "file:///bundle/"

var framePlace = regexp.MustCompile(regexp.QuoteMeta(bundlePrefix) + `([^\s():]+):(\d+)(?::(\d+))?`)

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

// rewrite replaces every place it knows in a text; of the others it leaves away
// workerd's prefix.
func (m *sourceMaps) rewrite(text string) string {
	if !strings.Contains(text, bundlePrefix) {
		return text
	}
	text = framePlace.ReplaceAllStringFunc(text, func(place string) string {
		parts := framePlace.FindStringSubmatch(place)
		line, _ := strconv.Atoi(parts[2])
		column, _ := strconv.Atoi(parts[3])
		return m.source(parts[1], line, column)
	})
	return strings.ReplaceAll(text, bundlePrefix, "")
}

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
