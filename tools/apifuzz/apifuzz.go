// Package apifuzz calls an API in all the ways its OpenAPI document makes one think of,
// and holds every answer to that document. It is for tests.
//
// Requests are made of the document alone: for every operation some that are right, and
// for every parameter and field some that break one thing (a bound, a type, a pattern,
// the encoding), with strings that break other people's programs. Ids are learned from
// answers, so that requests meet what is there.
package apifuzz

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options say what is called and how much.
type Options struct {
	// URL is where the API answers, without a slash at the end.
	URL string
	// Document is the OpenAPI document, in JSON.
	Document []byte
	// Seed makes the same requests again, as far as the answers are the same.
	Seed uint64
	// Requests is about how many are sent.
	Requests int
	// Credentials set a request's headers so that it may call operations with the
	// security scheme; by the scheme's name.
	Credentials map[string]func(http.Header)
	// Keep are ids that no DELETE gets to see, nor what Spare names.
	Keep []string
	// Places are paths of what is there from the start, as Location headers name others.
	Places []string
	// Spare are operations that get no id of Keep.
	Spare []string
	// Secrets must never be in an answer that did not make them.
	Secrets []string
	// Client sends the requests.
	Client *http.Client
}

// Report is what came of it.
type Report struct {
	Requests int
	// Statuses counts answers by operation and status.
	Statuses map[string]map[int]int
	// Problems are answers that the document does not allow, each kind once, with
	// how to ask for it again.
	Problems []string
}

// Run sends the requests, several at a time, until all are sent or ctx ends.
func Run(ctx context.Context, opts Options) (Report, error) {
	doc, err := parse(opts.Document)
	if err != nil {
		return Report{}, err
	}
	f := &fuzzer{opts: opts, doc: doc, pool: newPool(opts.Keep, opts.Places, doc.names()), report: Report{Statuses: map[string]map[int]int{}}, seen: map[string]bool{}}
	rng := rand.New(rand.NewPCG(opts.Seed, 0))
	for _, batch := range f.batches(rng) {
		f.send(ctx, batch)
	}
	slices.Sort(f.report.Problems)
	return f.report, ctx.Err()
}

// fuzzer is one run.
type fuzzer struct {
	opts Options
	doc  *document
	pool *pool

	mu     sync.Mutex
	report Report
	seen   map[string]bool
}

// rounds is in how many parts the requests are sent: ids learned in one are used in
// the next.
const rounds = 6

// batches spreads the cases of all operations over rounds. What is right comes first
// in each, to make what the others want to meet.
func (f *fuzzer) batches(rng *rand.Rand) [][]plan {
	all := make([][]plan, rounds)
	share := max(f.opts.Requests/max(len(f.doc.operations), 1), rounds)
	for _, op := range f.doc.operations {
		cases := f.doc.cases(op)
		rng.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
		if room := share - 2*rounds; len(cases) > room {
			cases = cases[:max(room, rounds)]
		}
		for len(cases) < share-rounds {
			cases = append(cases, caseOf{name: "right", right: true})
		}
		for round := range rounds {
			all[round] = append(all[round], plan{op, caseOf{name: "right", right: true}, rng.Uint64()})
			if op.Responses["201"] != nil {
				// What the others are about.
				all[round] = append(all[round], plan{op, caseOf{name: "right", right: true}, rng.Uint64()}, plan{op, caseOf{name: "right", right: true}, rng.Uint64()})
			}
			for i := round; i < len(cases); i += rounds {
				all[round] = append(all[round], plan{op, cases[i], rng.Uint64()})
			}
		}
	}
	for _, batch := range all {
		rng.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
	}
	return all
}

// plan is a case of an operation and the seed of its random parts.
type plan struct {
	op   *operation
	what caseOf
	seed uint64
}

// workers is how many requests are under way at once.
const workers = 6

func (f *fuzzer) send(ctx context.Context, batch []plan) {
	queue := make(chan plan)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for p := range queue {
				f.call(ctx, p)
			}
		})
	}
	for _, p := range batch {
		if ctx.Err() != nil {
			break
		}
		queue <- p
	}
	close(queue)
	group.Wait()
}

// exchange is a request and its answer.
type exchange struct {
	plan
	sent   built
	status int
	header http.Header
	body   []byte
}

func (f *fuzzer) call(ctx context.Context, p plan) {
	rng := rand.New(rand.NewPCG(p.seed, 1))
	sent := f.build(p, rng)
	x, err := f.exchange(ctx, p, sent)
	if err != nil {
		if ctx.Err() == nil {
			f.problem(p, sent, "no answer", err.Error(), "")
		}
		return
	}
	f.mu.Lock()
	f.report.Requests++
	counts := f.report.Statuses[p.op.id]
	if counts == nil {
		counts = map[int]int{}
		f.report.Statuses[p.op.id] = counts
	}
	counts[x.status]++
	f.mu.Unlock()
	if x.status < 300 {
		f.pool.learn(x.body, x.header.Get("Location"))
	}
	for _, wrong := range f.check(x) {
		f.problem(p, sent, fmt.Sprintf("%d %s", x.status, wrong), wrong, string(x.body))
	}
}

// answerTimeout bounds an answer; streams are left after their first bytes.
const answerTimeout = 30 * time.Second

func (f *fuzzer) exchange(ctx context.Context, p plan, sent built) (exchange, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, sent.method, f.opts.URL, sent.reader())
	if err != nil {
		return exchange{}, err
	}
	target, err := url.Parse(f.opts.URL + sent.target)
	if err != nil {
		return exchange{}, fmt.Errorf("a request that cannot be sent: %w", err)
	}
	request.URL, request.Header = target, sent.header
	response, err := f.opts.Client.Do(request)
	if err != nil {
		return exchange{}, err
	}
	defer response.Body.Close()
	x := exchange{plan: p, sent: sent, status: response.StatusCode, header: response.Header}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		return x, nil
	}
	x.body, err = io.ReadAll(response.Body)
	return x, err
}

// problem notes what is wrong, once for each kind of it per operation.
func (f *fuzzer) problem(p plan, sent built, kind, what, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kind = p.op.id + " " + digits.ReplaceAllString(kind, "#")
	if f.seen[kind] {
		return
	}
	f.seen[kind] = true
	f.report.Problems = append(f.report.Problems, fmt.Sprintf("%s (%s): %s\n\t%s\n\t%s", p.op.id, p.what.name, what, sent, clip(body)))
}

var digits = regexp.MustCompile(`[0-9]+`)

func clip(s string) string {
	const most = 600
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// strict decodes JSON and refuses what follows it.
func strict(data []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one value")
	}
	return v, nil
}
