package edge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/sandbox"
	"github.com/slipwayhq/slipway/upstream"
)

const (
	// maxProcesses bounds the threads of a worker: workerd has two, V8 a few.
	maxProcesses = 64
	// scratchBytes is the size of a worker's /tmp, in which it has no business.
	scratchBytes = 1 << 20
)

// start is a start under way; worker or err is set before done is closed.
type start struct {
	organizationID string

	done   chan struct{}
	worker *worker
	err    error
}

// begin gives the running worker, or the start under way, which it makes when
// there is none. The start is bound to the host, not to the request that asked
// first: others wait for it too. A worker that still runs for the organization
// its project belonged to before gives way: it has that one's user ids and
// key-value namespaces. The caller holds mu.
func (h *Host) begin(r Release) (*worker, *start, error) {
	if found, ok := h.running.Load(r.ID); ok {
		w := found.(*worker)
		if w.release.OrganizationID != r.OrganizationID && !w.closing() {
			h.closeWorker(w, endedMoved)
		}
		if !w.closing() {
			return w, nil, nil
		}
	}
	if s := h.starting[r.ID]; s != nil {
		return nil, s, nil
	}
	if h.closed {
		return nil, nil, busy(5*time.Second, "The edge host is being stopped.")
	}
	if err := h.faults[r.ID].waiting(h.now()); err != nil {
		return nil, nil, err
	}
	victims, err := h.makeRoom(r.OrganizationID)
	if err != nil {
		return nil, nil, err
	}
	s := &start{organizationID: r.OrganizationID, done: make(chan struct{})}
	h.starting[r.ID] = s
	h.sequence++
	sequence := h.sequence
	h.tasks.Go(func() { h.run(s, r, sequence, victims) })
	return nil, s, nil
}

// run makes the worker and publishes it.
func (h *Host) run(s *start, r Release, sequence uint64, victims []*worker) {
	ctx, cancel := context.WithTimeout(h.lifetime, h.limits.StartTimeout)
	defer cancel()
	began := h.now()
	w, err := h.launch(ctx, r, sequence, victims)
	h.measures.started(h.now().Sub(began), err)
	h.mu.Lock()
	delete(h.starting, r.ID)
	if err == nil && h.closed {
		h.closeWorker(w, endedInOrder)
		err = busy(5*time.Second, "The edge host is being stopped.")
	}
	if err != nil {
		h.fault(r.ID).failedToStart(h.now(), err)
	} else {
		w.published = true
		h.running.Store(r.ID, w)
		if w.closing() { // It has ended already.
			h.running.CompareAndDelete(r.ID, w)
		}
	}
	h.mu.Unlock()
	s.worker, s.err = w, err
	close(s.done)
}

// launch starts a release's process and waits until it listens.
func (h *Host) launch(ctx context.Context, r Release, sequence uint64, victims []*worker) (*worker, error) {
	for _, victim := range victims {
		select {
		case <-victim.done:
		case <-ctx.Done():
			return nil, busy(time.Second, "Other workers are still being stopped to make room.")
		}
	}
	began := h.now()
	w, err := h.make(ctx, r, sequence, false)
	if err != nil {
		return nil, h.startError(r, err)
	}
	select {
	case <-w.listening:
		h.counts.starts.Add(1)
		w.journal.system("info", fmt.Sprintf("worker started in %d ms", h.now().Sub(began).Milliseconds()))
		return w, nil
	case <-w.done:
		return nil, w.startFailure()
	case <-ctx.Done():
		usage, _ := w.service.Usage() // which is nothing any more when it has ended
		h.kill(w, ending{outcome: outcomeStopped, message: "it did not start in time", quiet: true})
		<-w.done
		return nil, w.startTimeout(h.limits.StartTimeout, usage.CPU)
	}
}

// startError logs a platform's fault where the tenant sees it, without its cause.
func (h *Host) startError(r Release, err error) error {
	if errors.Is(err, context.DeadlineExceeded) && models.CodeOf(err) == models.CodeInternal {
		err = models.Wrap(models.CodeSandbox, err, "the worker's sandbox was not made in time")
	}
	h.journal(r).system("error", "worker not started: "+models.MessageOf(err))
	return err
}

// make gathers what the release needs and starts its process. One that is examined
// says nothing in the release's log.
func (h *Host) make(ctx context.Context, r Release, sequence uint64, examined bool) (*worker, error) {
	code, err := h.code.open(ctx, r)
	if err != nil {
		return nil, err
	}
	known, err := h.know(ctx, r)
	if err != nil {
		return nil, err
	}
	said := h.journal(r)
	if examined {
		said = &journal{host: h, release: r, mute: true}
	}
	said.hide(known.environment)
	w := &worker{
		host: h, release: r, code: code, journal: said, examined: examined,
		name: fmt.Sprintf("%x", sequence), listening: make(chan struct{}), drained: make(chan struct{}), done: make(chan struct{}),
		ends: newEnds(h.sockets),
	}
	w.client = upstream.New(upstream.Options{
		Dial: func(ctx context.Context) (net.Conn, error) { return h.sockets.dial(ctx, w.name+"-http") },
	})
	w.output = newOutput(w)
	w.started = h.now()
	w.lastUsed.Store(w.started.UnixNano())
	if err := h.connect(ctx, w); err != nil {
		w.ends.close()
		return nil, err
	}
	if err := h.spawn(ctx, w, known); err != nil {
		w.removeSockets()
		w.ends.close()
		return nil, err
	}
	h.mu.Lock()
	h.live[w] = struct{}{}
	h.mu.Unlock()
	h.tasks.Go(func() { h.attend(w) })
	return w, nil
}

// know gives the release's environment and users, from PostgreSQL the first time.
func (h *Host) know(ctx context.Context, r Release) (*known, error) {
	h.mu.Lock()
	k := h.known[r.ID]
	if k != nil {
		k.used = h.now()
	}
	h.mu.Unlock()
	if k != nil {
		return k, nil
	}
	environment, err := h.options.Environment.Environment(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	base, err := h.options.UIDBase(ctx, r.OrganizationID)
	if err != nil {
		return nil, err
	}
	k = &known{environment: environment, uidBase: base, used: h.now()}
	h.mu.Lock()
	h.known[r.ID] = k
	h.mu.Unlock()
	return k, nil
}

// connect serves the host's ends of the worker's sockets.
func (h *Host) connect(ctx context.Context, w *worker) error {
	outbound := http.Handler(http.HandlerFunc(noWayOut))
	if h.options.Outbound != nil {
		outbound = h.options.Outbound(w.release)
	}
	if err := w.ends.serve(w.name+"-outbound", outboundSocket, maxWorkerConns, keepingSmoke(w.tellingRefusals(outbound))); err != nil {
		return socketError(err)
	}
	if err := w.ends.serve(w.name+"-cache", cacheSocket, maxCacheConns, http.HandlerFunc(emptyCache)); err != nil {
		return socketError(err)
	}
	bundle := w.code.bundle
	if hasAssets(bundle) {
		if h.options.Assets == nil {
			return models.Errorf(models.CodeSandbox, "This host serves no ASSETS bindings.")
		}
		assets, err := h.options.Assets.Assets(ctx, w.release)
		if err != nil {
			return err
		}
		if err := w.ends.serve(w.name+"-assets", assetsSocket, maxWorkerConns, assets); err != nil {
			return socketError(err)
		}
	}
	for i, kv := range bundle.KV {
		if h.options.KV == nil {
			return models.Errorf(models.CodeSandbox, "This host serves no KV bindings.")
		}
		if err := w.ends.serve(w.name+"-"+kvSocket(i), kvSocket(i), maxKVConns, h.options.KV(w.release.OrganizationID, kv.Namespace)); err != nil {
			return socketError(err)
		}
	}
	return nil
}

func socketError(err error) error {
	return models.Wrap(models.CodeSandbox, err, "the worker's sockets cannot be made")
}

// spawn starts the process. The host makes the sockets it listens on and hands
// them over, so that connections wait in the kernel until it is ready, and no
// file of an earlier process is in the way.
func (h *Host) spawn(ctx context.Context, w *worker, k *known) (err error) {
	var files []*os.File
	defer func() {
		for _, file := range files {
			_ = file.Close()
		}
	}()
	for _, name := range []string{w.name + "-http", w.name + "-health"} {
		file, err := h.sockets.hand(name)
		if err != nil {
			return socketError(err)
		}
		files = append(files, file)
	}
	control, controlEnd, err := os.Pipe()
	if err != nil {
		return socketError(err)
	}
	files = append(files, controlEnd)
	config, err := memoryFile(workerdConfig(w.code.bundle, k.environment, h.limits.WorkerHeapBytes, w.examined))
	if err != nil {
		_ = control.Close()
		return models.Wrap(models.CodeSandbox, err, "the worker's configuration cannot be written")
	}
	files = append(files, config)
	release, err := h.turn(ctx, w.release.OrganizationID)
	if err != nil {
		_ = control.Close()
		return err
	}
	defer release()
	w.service, err = h.options.Services.StartService(ctx, sandbox.ServiceSpec{
		ID: h.idPrefix + w.name, UIDBase: k.uidBase, UIDCount: sandbox.MinUIDCount,
		Limits: sandbox.Limits{
			MemoryBytes: h.limits.WorkerMemoryBytes, CPUs: h.limits.WorkerCPUs, PIDs: maxProcesses, DiskBytes: scratchBytes,
		},
		Args: workerdArgs(),
		Binds: append([]sandbox.Bind{
			{Source: h.options.Workerd, Destination: insideWorkerd}, {Source: w.code.modules(), Destination: insideModules},
		}, w.ends.binds...),
		Files: files, Stdout: w.output, Stderr: &w.output.errors,
	})
	if err != nil {
		_ = control.Close()
		return err
	}
	go w.awaitListening(control)
	return nil
}

// turn waits until one more sandbox may be made, and gives the way to say that it
// was. Making one takes a processor; too many at once would all be late. Of the
// places one organization has half, so that the starts of another do not wait
// behind all of its own. The worker's own start-up is not waited for: it may take
// as long as it likes.
func (h *Host) turn(ctx context.Context, organizationID string) (release func(), err error) {
	h.mu.Lock()
	own := h.makingOf[organizationID]
	if own == nil {
		own = make(chan struct{}, max(1, cap(h.making)/2))
		h.makingOf[organizationID] = own
	}
	h.mu.Unlock()
	late := func() error { return busy(time.Second, "Too many workers are being started on this machine.") }
	select {
	case own <- struct{}{}:
	case <-ctx.Done():
		return nil, late()
	}
	select {
	case h.making <- struct{}{}:
		return func() { <-h.making; <-own }, nil
	case <-ctx.Done():
		<-own
		return nil, late()
	}
}

// awaitListening reads workerd's control messages until the process ends:
//
//	{"event":"listen","socket":"http","port":0}
func (w *worker) awaitListening(control *os.File) {
	defer control.Close()
	lines := bufio.NewScanner(control)
	said := false
	for lines.Scan() {
		if !said && strings.Contains(lines.Text(), `"listen"`) && strings.Contains(lines.Text(), `"http"`) {
			said = true
			close(w.listening)
		}
	}
}
