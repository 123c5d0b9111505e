package apifuzz

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// pool is what answers showed, so that requests can name what is there. Safe for
// concurrent use.
type pool struct {
	mu   sync.Mutex
	keep map[string]bool
	// ids by their prefixes.
	ids map[string][]string
	// values of fields by those of their names that requests have too.
	values map[string][]string
	// places are paths that Location headers named, after those there were at first.
	places [][]string
	first  int
}

// most is how many of a kind are remembered.
const most = 200

func newPool(keep, places []string, names map[string]bool) *pool {
	p := &pool{keep: map[string]bool{}, ids: map[string][]string{}, values: map[string][]string{}}
	for name := range names {
		p.values[name] = nil
	}
	for _, place := range places {
		p.places = append(p.places, strings.Split(place, "/"))
	}
	p.first = len(places)
	for _, id := range keep {
		p.keep[id] = true
		p.ids[prefixOf(id)] = remember(p.ids[prefixOf(id)], id)
	}
	return p
}

// anID is what an id looks like wherever it is.
var anID = regexp.MustCompile(`\b[a-z]{2,5}_[a-z2-7]{26}\b`)

func prefixOf(s string) string {
	if s == "" || anID.FindString(s) != s {
		return ""
	}
	prefix, _, _ := strings.Cut(s, "_")
	return prefix
}

// learn takes what an answer of success shows.
func (p *pool) learn(body []byte, location string) {
	value, err := strict(body)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, id := range anID.FindAll(body, 50) {
		prefix := prefixOf(string(id))
		p.ids[prefix] = remember(p.ids[prefix], string(id))
	}
	if err == nil {
		p.learnFields(value, 0)
	}
	if strings.HasPrefix(location, "/") {
		p.places = append(p.places, strings.Split(location, "/"))
		if len(p.places) > p.first+most {
			p.places = slices.Delete(p.places, p.first, p.first+1)
		}
	}
}

func (p *pool) learnFields(v any, depth int) {
	switch v := v.(type) {
	case []any:
		for _, item := range v[:min(len(v), 5)] {
			p.learnFields(item, depth+1)
		}
	case map[string]any:
		for name, value := range v {
			text, ok := value.(string)
			if known, wanted := p.values[name]; ok && wanted && text != "" && prefixOf(text) == "" {
				p.values[name] = remember(known, text)
			} else if !ok && depth < 3 {
				p.learnFields(value, depth+1)
			}
		}
	}
}

// remember adds a value; the oldest but the first are forgotten.
func remember(known []string, value string) []string {
	if slices.Contains(known, value) {
		return known
	}
	if len(known) >= most {
		known = slices.Delete(known, most/4, most/4+1)
	}
	return append(known, value)
}

// id gives one with the prefix, none of those to keep when spare; "" for none.
func (p *pool) id(rng *rand.Rand, prefix string, spare bool) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var kept, others []string
	for _, id := range p.ids[prefix] {
		if p.keep[id] {
			kept = append(kept, id)
		} else {
			others = append(others, id)
		}
	}
	// What is to stay is also what everything else hangs on.
	if !spare && len(kept) > 0 && (len(others) == 0 || rng.IntN(3) != 0) {
		return pick(rng, kept)
	}
	return pick(rng, others)
}

// value gives one that an answer had in a field of that name; "" for none.
func (p *pool) value(rng *rand.Rand, name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return pick(rng, p.values[name])
}

// place fills the parameters of a path from a place that begins like it, or that it
// begins like; nil for none. Half of the time it is one there was at first. The last of
// them is none to keep when spare.
func (p *pool) place(rng *rand.Rand, path string, spare bool) map[string]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	template := strings.Split(path, "/")
	var fits []map[string]string
	longest := 0
	places := p.places
	if rng.IntN(2) == 0 {
		places = places[:p.first]
	}
	for _, place := range places {
		found, last := map[string]string{}, ""
		common := min(len(place), len(template))
		for i := range common {
			name, parameter := strings.CutPrefix(template[i], "{")
			if parameter {
				last = place[i]
				found[strings.TrimSuffix(name, "}")] = last
			} else if template[i] != place[i] {
				found = nil
				break
			}
		}
		if len(found) < max(longest, 1) || spare && p.keep[last] {
			continue
		}
		if len(found) > longest {
			longest, fits = len(found), nil
		}
		fits = append(fits, found)
	}
	if len(fits) == 0 {
		return nil
	}
	return fits[rng.IntN(len(fits))]
}

func pick(rng *rand.Rand, from []string) string {
	if len(from) == 0 {
		return ""
	}
	return from[rng.IntN(len(from))]
}
