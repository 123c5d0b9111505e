package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/blob"
	blobfs "github.com/slipwayhq/slipway/blob/fs"
	"github.com/slipwayhq/slipway/models"
)

// shipsAll deploys workers side by side and returns their projects by name.
func (s *system) shipsAll(code map[string]string) map[string]string {
	s.t.Helper()
	projects, deployments := map[string]string{}, map[string]string{}
	for name, text := range code {
		projects[name] = s.newProject(name)
		deployments[name] = s.deploy(projects[name], worker(name, text))
	}
	for _, id := range deployments {
		s.succeed(id)
	}
	return projects
}

// tailing runs `slipway tail` on a project and gives each line as it is printed.
func (s *system) tailing(project string) <-chan models.WorkerLogLine {
	s.t.Helper()
	ctx, end := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, slipwayBinary(), "tail", "--json", "--project", project)
	cmd.Env = append(os.Environ(), "SLIPWAY_DATA_DIR="+s.dir)
	cmd.Stderr = s.log
	out, err := cmd.StdoutPipe()
	require.NoError(s.t, err)
	require.NoError(s.t, cmd.Start())
	lines := make(chan models.WorkerLogLine, 10_000)
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			var line models.WorkerLogLine
			if json.Unmarshal(scanner.Bytes(), &line) == nil {
				select {
				case lines <- line:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	s.t.Cleanup(func() {
		end()
		<-read
		_ = cmd.Wait()
	})
	return lines
}

// awaitLine waits for a line of a kind that says one of these things.
func awaitLine(t *testing.T, lines <-chan models.WorkerLogLine, kind string, words ...string) models.WorkerLogLine {
	t.Helper()
	late := time.After(patience)
	var said []string
	for {
		select {
		case line, ok := <-lines:
			require.True(t, ok, "the log ended; it said %q", said)
			says := func(words string) bool { return strings.Contains(line.Message, words) }
			if line.Kind == kind && slices.ContainsFunc(words, says) {
				return line
			}
			said = append(said, line.Kind+": "+line.Message)
		case <-late:
			require.Fail(t, "no such line", "%s with %q; the log says %q", kind, words, said)
		}
	}
}

// bystander asks a worker that does nothing wrong, all the time.
type bystander struct {
	asked, failed atomic.Int64
	longest       atomic.Int64
	first         atomic.Pointer[string]
}

func (s *system) watchBystander(worker string) *bystander {
	b := &bystander{}
	ctx, end := context.WithCancel(context.Background())
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	// A start of the system gives it another.
	address := s.DispatcherURL
	var asking sync.WaitGroup
	asking.Go(func() {
		for ctx.Err() == nil {
			began := time.Now()
			if err := ask(client, address, worker); err != nil {
				said := err.Error()
				b.failed.Add(1)
				b.first.CompareAndSwap(nil, &said)
			}
			b.asked.Add(1)
			b.longest.Store(max(b.longest.Load(), int64(time.Since(began))))
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	s.t.Cleanup(func() {
		end()
		asking.Wait()
		client.CloseIdleConnections()
	})
	return b
}

func ask(client *http.Client, url, worker string) error {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Host = worker + ".localhost"
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, content)
	}
	return err
}

// unharmed checks that nobody else noticed anything while f ran.
func (b *bystander) unharmed(t *testing.T, f func()) {
	t.Helper()
	asked := b.asked.Load()
	b.longest.Store(0)
	f()
	t.Logf("meanwhile another worker answered %d times, at worst in %s", b.asked.Load()-asked, time.Duration(b.longest.Load()).Round(time.Millisecond))
	if first := b.first.Load(); first != nil {
		require.Fail(t, "another worker was harmed", *first)
	}
}

const fineWorker = `export default { fetch() { return new Response("fine\n"); } }`

// faultyWorkers do what they should not when they are asked to; "/" is fine.
func faultyWorkers() map[string]string {
	code := map[string]string{
		"silent": `if (path === "/do") await new Promise((resolve) => setTimeout(resolve, 1e9));`,
		"spins":  `if (path === "/do") while (true) {}`,
		// It lets its event loop turn, or it might be taken for one that spins.
		"eats": `if (path === "/do") {
				for (const all = []; ; await new Promise((turned) => setTimeout(turned))) {
					for (let i = 0; i < 10; i++) all.push(new Array(100000).fill(Math.random()));
				}
			}`,
		"endless": `if (path === "/count") return new Response(String(globalThis.count));
			if (path === "/do") {
				const { readable, writable } = new TransformStream();
				const writer = writable.getWriter();
				context.waitUntil((async () => {
					for (globalThis.count = 0; ; globalThis.count++) await writer.write(new Uint8Array(1 << 14));
				})());
				return new Response(readable);
			}`,
		"leaks": `if (path.startsWith("/do/")) {
				const { readable, writable } = new TransformStream();
				const writer = writable.getWriter();
				context.waitUntil((async () => {
					const all = [];
					let refused = 0;
					for (let i = 0; i < 10; i++) {
						await Promise.all([...Array(100).keys()].map(async () => {
							const socket = connect("127.0.0.1:" + path.slice(4));
							try { await socket.opened; all.push(socket); } catch { refused++; }
						}));
					}
					await writer.write(new TextEncoder().encode(JSON.stringify({ opened: all.length, refused })));
					await writer.close();
				})());
				return new Response(readable);
			}`,
		"takes": `if (path === "/do") {
				let bytes = 0;
				for await (const chunk of request.body) bytes += chunk.length;
				return new Response(String(bytes));
			}`,
		"talks": `if (path === "/do") console.log("the key is " + env.KEY, { key: env.KEY }, new Error("with " + env.KEY));
			if (path === "/throw") throw new Error("cannot use " + env.KEY);`,
	}
	for name, does := range code {
		code[name] = `import { connect } from "cloudflare:sockets";
			export default { async fetch(request, env, context) {
			const path = new URL(request.url).pathname;
			` + does + `
			return new Response("fine\n");
		} }`
	}
	code["fine"] = fineWorker
	return code
}

// TestEdge_faultsStayWithTheirWorker lets workers do everything they should not.
func TestEdge_faultsStayWithTheirWorker(t *testing.T) {
	s := boot(t, "EDGE_REQUEST_TIMEOUT=8s", "EDGE_ALLOW_PRIVATE=127.0.0.0/8")
	projects := s.shipsAll(faultyWorkers())
	fine := s.watchBystander("fine")

	// ends holds an answer to EDGE_REQUEST_TIMEOUT: by default it would take longer.
	ends := func(t *testing.T, f func() answer) answer {
		t.Helper()
		began := time.Now()
		got := f()
		require.Less(t, time.Since(began), 90*time.Second)
		return got
	}
	do := func(name string) func() answer {
		return func() answer { return s.ask(name, http.MethodGet, "/do", "") }
	}
	recovers := func(t *testing.T, name string) {
		t.Helper()
		s.wait(patience, name+" to answer again", func() bool {
			return s.ask(name, http.MethodGet, "/", "").StatusCode == http.StatusOK
		})
	}

	t.Run("one that does not answer", func(t *testing.T) {
		fine.unharmed(t, func() {
			got := ends(t, do("silent"))
			require.Equal(t, http.StatusGatewayTimeout, got.StatusCode, got.text())
			require.Equal(t, http.StatusOK, s.ask("silent", http.MethodGet, "/", "").StatusCode, "its other requests go on")
		})
	})

	t.Run("one that spins", func(t *testing.T) {
		lines := s.tailing(projects["spins"])
		fine.unharmed(t, func() {
			began := time.Now()
			got := ends(t, do("spins"))
			// A busy machine may not let it spin enough before its visitor is told.
			require.Contains(t, []int{http.StatusBadGateway, http.StatusGatewayTimeout}, got.StatusCode, got.text())
			answered := time.Since(began)
			awaitLine(t, lines, models.LogSystem, "it computed for", "it did not answer anything for")
			t.Logf("ended after %s, named after %s", answered.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
			recovers(t, "spins")
		})
	})

	t.Run("one that eats memory", func(t *testing.T) {
		lines := s.tailing(projects["eats"])
		fine.unharmed(t, func() {
			got := ends(t, do("eats"))
			require.Contains(t, []int{http.StatusBadGateway, http.StatusGatewayTimeout}, got.StatusCode, got.text())
			awaitLine(t, lines, models.LogSystem, "JavaScript heap")
			recovers(t, "eats")
		})
	})

	t.Run("one that streams for ever ends with its visitor", func(t *testing.T) {
		lines := s.tailing(projects["endless"])
		fine.unharmed(t, func() {
			stream := s.open("endless", http.MethodGet, "/do", "")
			_, err := io.CopyN(io.Discard, stream.Body, 4<<20)
			require.NoError(t, err)
			require.NoError(t, stream.Body.Close())
			for {
				if line := awaitLine(t, lines, models.LogRequest, ""); line.Path == "/do" {
					require.Equal(t, "canceled", line.Outcome)
					break
				}
			}
			last, same := "", 0
			s.wait(patience, "it to write no more", func() bool {
				count := s.ask("endless", http.MethodGet, "/count", "").text()
				if same++; count != last {
					last, same = count, 0
				}
				return same == 5
			})
		})
	})

	t.Run("one that opens sockets without end is refused", func(t *testing.T) {
		server := newSink(t)
		lines := s.tailing(projects["leaks"])
		fine.unharmed(t, func() {
			var said struct{ Opened, Refused int }
			s.ask("leaks", http.MethodGet, "/do/"+server.port(), "").json(t, &said)
			t.Logf("%d sockets opened, %d refused", said.Opened, said.Refused)
			require.Equal(t, 1000, said.Opened+said.Refused)
			require.Greater(t, said.Refused, 500)
			require.LessOrEqual(t, server.open.Load(), int64(500))
			awaitLine(t, lines, models.LogSystem, "are being refused")
			require.Equal(t, http.StatusOK, s.ask("leaks", http.MethodGet, "/", "").StatusCode)
		})
	})

	t.Run("a large upload passes through, a too large one does not", func(t *testing.T) {
		const size = 64 << 20
		fine.unharmed(t, func() {
			before := s.resetPeak()
			got := s.upload("takes", "/do", size)
			require.Equal(t, http.StatusOK, got.StatusCode, got.text())
			require.Equal(t, strconv.Itoa(size), got.text())
			if grown := s.peak() - before; grown > size/2 {
				t.Errorf("%d MiB of memory went into an upload of %d MiB", grown>>20, size>>20)
			}
			got = s.upload("takes", "/do", 101<<20)
			require.Equal(t, http.StatusRequestEntityTooLarge, got.StatusCode)
		})
	})

	t.Run("secrets are masked in what it says", func(t *testing.T) {
		const key = "s3cr3t-\"quoted\"-value"
		s.succeed(s.setVariable(projects["talks"], "KEY", key, true))
		s.wait(patience, "the secret to be used", func() bool {
			s.ask("talks", http.MethodGet, "/do", "")
			_, said := s.call(http.MethodGet, "/projects/"+projects["talks"]+"/logs/stream?follow=false", nil, nil)
			return strings.Contains(said, "the key is [KEY]")
		})
		s.ask("talks", http.MethodGet, "/throw", "")
		lines := s.tailing(projects["talks"])
		require.Contains(t, awaitLine(t, lines, models.LogException, "cannot use").Message, "[KEY]")
		_, said := s.call(http.MethodGet, "/projects/"+projects["talks"]+"/logs/stream?follow=false", nil, nil)
		require.NotContains(t, said, "s3cr3t")
	})

	t.Run("killed with all of them, it serves again and nothing old is left", func(t *testing.T) {
		before := s.workerProcesses()
		require.NotEmpty(t, before)
		missing := s.loseCode(projects["takes"])
		s.kill()
		fine.first.Store(nil)
		s.start()
		s.seen("fine", "/", "fine")
		for pid, started := range before {
			require.NotEqual(t, started, startTime(pid), "process %d of before runs on", pid)
		}
		require.Len(t, s.workerProcesses(), 1)
		require.Len(t, s.controlGroups(), 1)
		mounts, err := os.ReadFile("/proc/self/mounts")
		require.NoError(t, err)
		for line := range strings.Lines(string(mounts)) {
			if strings.Contains(line, filepath.Join(s.dir, "edge")) {
				require.Contains(t, line, s.controlGroups()[0], "a mount of a sandbox that is no more")
			}
		}

		t.Run("a release without its code is nobody else's trouble", func(t *testing.T) {
			lines := s.tailing(projects["takes"])
			for range 3 {
				got := ends(t, func() answer { return s.ask("takes", http.MethodGet, "/", "") })
				require.GreaterOrEqual(t, got.StatusCode, 500, got.text())
				require.NotContains(t, got.text(), missing, "digests are not for visitors")
			}
			awaitLine(t, lines, models.LogSystem, "worker not started: ")
			require.Equal(t, "fine\n", s.ask("fine", http.MethodGet, "/", "").text())
			s.succeed(s.deploy(projects["takes"], worker("takes", fineWorker)))
			s.seen("takes", "/", "fine")
		})
	})
}

// sink takes connections and keeps them.
type sink struct {
	listener net.Listener
	open     atomic.Int64
}

func newSink(t *testing.T) *sink {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &sink{listener: listener}
	var taken sync.WaitGroup
	taken.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.open.Add(1)
			taken.Go(func() {
				defer s.open.Add(-1)
				defer conn.Close()
				defer context.AfterFunc(t.Context(), func() { _ = conn.Close() })()
				_, _ = io.Copy(io.Discard, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		taken.Wait()
	})
	return s
}

func (s *sink) port() string {
	_, port, _ := net.SplitHostPort(s.listener.Addr().String())
	return port
}

// upload posts so many bytes.
func (s *system) upload(worker, path string, size int64) answer {
	s.t.Helper()
	request, err := http.NewRequest(http.MethodPost, s.DispatcherURL+path, io.LimitReader(zeros{}, size))
	require.NoError(s.t, err)
	request.Host, request.ContentLength = worker+".localhost", size
	request.Header.Set("Expect", "100-continue")
	response, err := (&http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: patience}).RoundTrip(request)
	require.NoError(s.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return answer{response, content}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// resetPeak begins to measure the most memory the process holds, in bytes, and
// gives what it holds now; proc(5), clear_refs.
func (s *system) resetPeak() int64 {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0))
	return s.peak()
}

func (s *system) peak() int64 {
	s.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	require.NoError(s.t, err)
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kilobytes, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			require.NoError(s.t, err)
			return kilobytes << 10
		}
	}
	require.Fail(s.t, "no VmHWM")
	return 0
}

// edgePrefix is what the control groups of this system's workers are called by.
func (s *system) edgePrefix() string {
	sum := sha256.Sum256([]byte(filepath.Join(s.dir, "edge", "host")))
	return "edge-" + hex.EncodeToString(sum[:6]) + "-"
}

// workerProcesses are the processes of this system's workers, with the times
// they began at.
func (s *system) workerProcesses() map[int]string {
	s.t.Helper()
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	require.NoError(s.t, err)
	found := map[int]string{}
	for _, name := range groups {
		content, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(content, []byte(s.edgePrefix())) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		require.NoError(s.t, err)
		if started := startTime(pid); started != "" {
			found[pid] = started
		}
	}
	return found
}

// startTime is when a process began; "" when there is none. proc(5), stat.
func startTime(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}

// controlGroups are the ids of this system's workers that have control groups.
func (s *system) controlGroups() []string {
	s.t.Helper()
	ids := map[string]bool{}
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return nil // It went meanwhile.
		}
		if at := strings.Index(d.Name(), s.edgePrefix()); d.IsDir() && at >= 0 {
			ids[d.Name()[at:]] = true
		}
		return nil
	})
	assert.NoError(s.t, err)
	var list []string
	for id := range ids {
		list = append(list, id)
	}
	return list
}

// loseCode removes the code of a project's live release from blob storage and
// from the edge host's disk, and gives its digest.
func (s *system) loseCode(project string) string {
	s.t.Helper()
	conn := s.database()
	defer conn.Close(context.Background())
	var organization, digest string
	require.NoError(s.t, conn.QueryRow(context.Background(),
		"SELECT r.organization_id, r.worker_digest FROM releases r JOIN projects p ON p.live_release_id = r.id WHERE p.id = $1", project).Scan(&organization, &digest))
	blobs, err := blobfs.New(blobfs.Options{Root: filepath.Join(s.dir, "blobs")})
	require.NoError(s.t, err)
	data, err := blob.ReadAll(context.Background(), blobs, blob.Key{Scope: organization, Digest: digest}, 1<<20)
	require.NoError(s.t, err)
	bundle, err := models.DecodeWorkerBundle(data)
	require.NoError(s.t, err)
	module := bundle.Modules[0].Digest
	require.NoError(s.t, blobs.Delete(context.Background(), blob.Key{Scope: organization, Digest: module}))
	require.NoError(s.t, os.RemoveAll(filepath.Join(s.dir, "edge", "host", "code", organization, digest)))
	return module
}
