package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// aimNginx bounds the dispatcher's CPU time for a request, in nginx's.
const aimNginx = 1.5

// staticClients is how many connections are open at once.
const staticClients = 16

// staticCase is one file asked for in one way.
type staticCase struct {
	name, path, encoding string
	// part of the requests are enough for a file that takes longer.
	part int
	// aimCaddy bounds the dispatcher's CPU time for a request, in Caddy's; 0 is no aim.
	aimCaddy float64
}

func staticCases() []staticCase {
	return []staticCase{
		{"1 KiB script", "/small.js", "identity", 1, 0.33},
		{"10 KiB page, gzip", "/", "gzip", 1, 0},
		{"100 KiB script", "/app.js", "identity", 2, 0.5},
		{"100 KiB script, gzip", "/app.js", "gzip", 2, 0},
	}
}

// peers of the dispatcher.
const peerNginx, peerCaddy = "nginx", "Caddy"

func rateRow(c staticCase) string { return c.name + ": requests" }
func costRow(c staticCase) string { return c.name + ": CPU a request" }

func staticRowNames() (names []string) {
	for _, c := range staticCases() {
		names = append(names, rateRow(c), costRow(c))
	}
	return names
}

// staticRows serves one site from the dispatcher, nginx and Caddy, in turns. The
// load comes from this process and shares the cores with the server, so the CPU
// time of a request says more than the rate.
func staticRows(ctx context.Context, b *bench) ([]row, error) {
	worker, err := b.system.deploySite(ctx)
	if err != nil {
		return nil, err
	}
	dispatcher, err := startDispatcher(ctx, b.system, worker)
	if err != nil {
		return nil, err
	}
	defer dispatcher.stop()
	// The peers' compressed files are the dispatcher's own, byte for byte.
	site := filepath.Join(b.dir, "site")
	if err := writeSite(ctx, site, dispatcher); err != nil {
		return nil, err
	}
	nginx, err := startNginx(ctx, b.dir, site)
	if err != nil {
		return nil, err
	}
	defer nginx.stop()
	caddy, err := startCaddy(ctx, b.dir, site)
	if err != nil {
		return nil, err
	}
	defer caddy.stop()

	var rows []row
	for _, c := range staticCases() {
		got, err := measureCase(ctx, b, c, dispatcher, map[string]*server{peerNginx: nginx, peerCaddy: caddy})
		if err != nil {
			return rows, fmt.Errorf("%s: %w", c.name, err)
		}
		for i := range got {
			if got[i].missed() {
				got[i].look = profileCase(ctx, b, c, worker)
			}
		}
		rows = append(rows, got...)
	}
	return rows, nil
}

// turnResult is what a server did under one turn of load.
type turnResult struct{ rate, cost float64 }

func measureCase(ctx context.Context, b *bench, c staticCase, dispatcher *server, peers map[string]*server) ([]row, error) {
	body, err := sameAnswer(ctx, c, dispatcher, peers[peerNginx], peers[peerCaddy])
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, peer := range []string{peerNginx, peerCaddy} {
		rate := row{name: rateRow(c), peer: peer, unit: perSecond}
		cost := row{name: costRow(c), peer: peer, unit: micros}
		if cost.aim = c.aimCaddy; peer == peerNginx {
			cost.aim = aimNginx
		}
		for turn := range b.staticPairs + 1 {
			ours, err := dispatcher.bear(ctx, c, body, b.requests)
			if err != nil {
				return nil, err
			}
			theirs, err := peers[peer].bear(ctx, c, body, b.requests)
			if err != nil {
				return nil, err
			}
			if turn == 0 && !b.quick {
				continue // caches are filled
			}
			rate.pairs = append(rate.pairs, pair{ours.rate, theirs.rate})
			cost.pairs = append(cost.pairs, pair{ours.cost, theirs.cost})
		}
		rows = append(rows, rate, cost)
	}
	return rows, nil
}

// bear puts one turn of load on a server.
func (s *server) bear(ctx context.Context, c staticCase, body int64, requests int) (turnResult, error) {
	l := newLoad(s.addr, s.host, c.path, c.encoding, staticClients, requests/c.part)
	before, err := cpuTime(s.process.Pid())
	if err != nil {
		return turnResult{}, err
	}
	made, took, err := l.run(ctx, body)
	if err != nil {
		return turnResult{}, fmt.Errorf("%s: %w", s.name, err)
	}
	after, err := cpuTime(s.process.Pid())
	if err != nil {
		return turnResult{}, err
	}
	// A turn too short for the clock counts as one tick: quick runs only.
	used := max(after-before, tick)
	return turnResult{rate: float64(made) / took.Seconds(), cost: used.Seconds() * 1e6 / float64(made)}, nil
}

// sameAnswer makes sure that all serve the same bytes in the same encoding, and
// returns how many.
func sameAnswer(ctx context.Context, c staticCase, servers ...*server) (int64, error) {
	var first []byte
	for i, s := range servers {
		body, encoding, err := s.fetch(ctx, c.path, c.encoding)
		if err != nil {
			return 0, err
		}
		if want := strings.TrimPrefix(c.encoding, "identity"); encoding != want {
			return 0, fmt.Errorf("%s answers in the encoding %q instead of %q", s.name, encoding, want)
		}
		if i == 0 {
			first = body
		} else if !bytes.Equal(body, first) {
			return 0, fmt.Errorf("%s serves other bytes than %s", s.name, servers[0].name)
		}
	}
	return int64(len(first)), nil
}

// fetch gets a file as it comes over the wire.
func (s *server) fetch(ctx context.Context, path, accept string) (body []byte, encoding string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+path, nil)
	if err != nil {
		return nil, "", err
	}
	req.Host = s.host
	req.Header.Set("Accept-Encoding", accept)
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	body, err = io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s to %s", s.name, answer.Status, path)
	}
	return body, answer.Header.Get("Content-Encoding"), err
}

// siteFiles are a page and two scripts of fixed content that compresses about as well
// as real ones do.
func siteFiles() []initFile {
	return []initFile{
		{"index.html", prose("<!doctype html><title>Bench</title>\n", "<p>%s</p>\n", 10<<10)},
		{"small.js", prose("// Bench\n", "console.log(%q);\n", 1<<10)},
		{"app.js", prose("// Bench\n", "console.log(%q);\n", 100<<10)},
	}
}

// prose repeats a line with words in it up to a size.
func prose(head, line string, size int) string {
	source := rand.New(rand.NewPCG(1, 2))
	var out strings.Builder
	out.WriteString(head)
	for out.Len() < size {
		words := make([]string, 12)
		for i := range words {
			// Few words often, many words seldom, as in a language.
			words[i] = fmt.Sprintf("w%x", int(source.ExpFloat64()*300))
		}
		fmt.Fprintf(&out, line, strings.Join(words, " "))
	}
	return out.String()[:size-1] + "\n"
}

// deploySite puts the site live, for all sections that ask for it, and returns
// its worker name.
func (s *system) deploySite(ctx context.Context) (worker string, err error) {
	if s.siteWorker != "" {
		return s.siteWorker, nil
	}
	p, err := s.newProject(ctx, s.account, "bench-static")
	if err != nil {
		return "", err
	}
	if _, err = p.deploy(ctx, siteFiles()); err != nil {
		return "", err
	}
	s.siteWorker = p.worker
	return p.worker, nil
}

// writeSite lays the site out for the peers, with what the dispatcher sends to
// those who take gzip beside each file.
func writeSite(ctx context.Context, dir string, dispatcher *server) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, f := range siteFiles() {
		if err := os.WriteFile(filepath.Join(dir, f.Path), []byte(f.Content), 0o644); err != nil {
			return err
		}
		packed, encoding, err := dispatcher.fetch(ctx, "/"+strings.TrimSuffix(f.Path, "index.html"), "gzip")
		if err != nil {
			return err
		}
		if encoding != "gzip" {
			continue // too small to gain by it
		}
		if err := os.WriteFile(filepath.Join(dir, f.Path+".gz"), packed, 0o644); err != nil {
			return err
		}
	}
	return nil
}
