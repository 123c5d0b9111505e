package edge

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-sourcemap/sourcemap"

	"github.com/slipwayhq/slipway/models"
)

// bundlePrefix is where workerd says that a worker's modules are; with the module
// registry of older compatibility dates it says nothing.
const bundlePrefix = "file:///bundle/"

// framePlace is the place in a frame: "at f (main.js:1:2)", "at main.js:1:2".
var framePlace = regexp.MustCompile(`(?:` + regexp.QuoteMeta(bundlePrefix) + `)?([^\s():]+):(\d+)(?::(\d+))?\)?$`)

const (
	// maxMap bounds the source map of one module, in bytes; the build leaves out
	// greater ones.
	maxMap = 60 << 20
	// maxMappings bounds what the source maps of one worker hold in memory, and
	// mappingBytes is what one mapping takes.
	maxMappings  = 1 << 20
	mappingBytes = 24
)

// sourceMaps turns places in a worker's modules into places in its sources. A map
// is read when it is first needed. Maps come from the build as that likes: one
// that is damaged or too large is as good as none.
type sourceMaps struct {
	folder  string
	modules map[string]int
	// reading is shared by all workers: a large map is read by one at a time.
	reading *sync.Mutex
	bytes   atomic.Int64

	mu   sync.Mutex
	read map[int]*sourcemap.Consumer
}

func newSourceMaps(bundle *models.WorkerBundle, folder string, reading *sync.Mutex) *sourceMaps {
	maps := &sourceMaps{folder: folder, modules: map[string]int{}, reading: reading, read: map[int]*sourcemap.Consumer{}}
	for i, module := range bundle.Modules {
		if module.SourceMap != "" {
			maps.modules[module.Name] = i
		}
	}
	return maps
}

// held is about how much memory the maps take, in bytes.
func (m *sourceMaps) held() int64 { return m.bytes.Load() }

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
	file, line, column, ok := lookUp(consumer, line, column-1)
	if !ok || file == "" {
		return same
	}
	return fmt.Sprintf("%s:%d:%d", sourceName(file), line, column+1)
}

// lookUp asks a map for a place. The reader of maps takes their indices for what
// they are, and panics where one leads nowhere.
func lookUp(consumer *sourcemap.Consumer, line, column int) (file string, sourceLine, sourceColumn int, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	file, _, sourceLine, sourceColumn, ok = consumer.Source(line, column)
	return file, sourceLine, sourceColumn, ok
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
		consumer = m.parse(index)
		m.read[index] = consumer
	}
	return consumer
}

// parse reads a module's map; nil when it is not to be used. The caller holds mu.
func (m *sourceMaps) parse(index int) (consumer *sourcemap.Consumer) {
	m.reading.Lock()
	defer m.reading.Unlock()
	defer func() {
		if recover() != nil {
			consumer = nil
		}
	}()
	name := filepath.Join(m.folder, strconv.Itoa(index))
	if stat, err := os.Stat(name); err != nil || stat.Size() > maxMap {
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	// What places are looked up with; the sources' texts are most of a map.
	var needed struct {
		Version    int      `json:"version"`
		SourceRoot string   `json:"sourceRoot,omitempty"`
		Sources    []string `json:"sources"`
		Mappings   string   `json:"mappings"`
	}
	if json.Unmarshal(data, &needed) != nil {
		return nil
	}
	bytes := int64(strings.Count(needed.Mappings, ",")+strings.Count(needed.Mappings, ";")+1) * mappingBytes
	for _, source := range needed.Sources {
		bytes += int64(len(source)) + 2*mappingBytes
	}
	if m.held()+bytes > maxMappings*mappingBytes {
		return nil
	}
	if data, err = json.Marshal(needed); err != nil {
		return nil
	}
	if consumer, err = sourcemap.Parse("", data); err != nil {
		return nil
	}
	m.bytes.Add(bytes)
	return consumer
}
