package dev

import (
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"
)

// slow is when a stage that has not finished is announced.
const slow = 2 * time.Second

// printer writes what a person at a terminal wants to know, a line at a time.
type printer struct {
	mu       sync.Mutex
	out      io.Writer
	announce *time.Timer
}

func newPrinter(out io.Writer) *printer { return &printer{out: out} }

func (p *printer) line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintln(p.out, text)
}

// stage times a part's start. The returned function reports where it is; a
// stage that takes long is announced in the meantime.
func (p *printer) stage(name string) (done func(where string)) {
	started := time.Now()
	p.quiet()
	p.announce = time.AfterFunc(slow, func() { p.line("Starting " + name + " …") })
	return func(where string) {
		p.quiet()
		p.line(fmt.Sprintf("%-11s %5.1f s  %s", name, time.Since(started).Seconds(), where))
	}
}

// quiet takes back the announcement of a stage that has ended or failed.
func (p *printer) quiet() {
	if p.announce != nil {
		p.announce.Stop()
	}
}

func (p *printer) banner(env Environment, owner, credentials string, took time.Duration) {
	site := env.DispatcherURL
	if u, err := url.Parse(env.DispatcherURL); err == nil {
		site = u.Scheme + "://<worker>." + u.Host + "/"
	}
	p.line(fmt.Sprintf(`
Slipway is ready (%.1f s)

  Dashboard     %s/app  (sign in as %s with the password in the credentials)
  API           %s  (reference: %s/docs)
  Sites         %s
  Temporal      %s  (Web UI: %s)
  Credentials   %s
  Logs          %s/logs

Ctrl-C stops everything.
`, took.Seconds(), env.APIURL, owner, env.APIURL, env.APIURL, site, env.TemporalAddress, env.TemporalUIURL, credentials, env.DataDir))
}
