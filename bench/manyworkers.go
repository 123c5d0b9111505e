package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/slipwayhq/slipway/dev/child"
	"github.com/slipwayhq/slipway/models"
	"github.com/slipwayhq/slipway/toolchain"
)

// What a cold start may take: in bare workerd's time, and at most; and what an
// active worker may hold.
const (
	aimColdRatio    = 2
	aimColdLongest  = 0.25
	aimWorkerMemory = 20
)

const (
	rowColdMedian   = "worker, cold: first byte, p50"
	rowColdLongest  = "worker, cold: first byte, p99"
	rowWorkerMemory = "100 active workers: private memory of one"
	rowHostMemory   = "1,000 deployed, 100 active: the dispatcher's memory"

	peerHostAlone = "itself, with one active"
)

// tinyWorker is the least there is, so that what is measured is not its own.
const tinyWorker = `export default { fetch() { return new Response("hello\n"); } };
`

// coldIdle stops idle workers soon, but not while the others are measured.
const coldIdle = 8 * time.Second

// requestsEach is what every active worker has answered when it is measured.
const requestsEach = 10

// manyRows measures what workers cost that are started, run, or only deployed.
func manyRows(ctx context.Context, b *bench) ([]row, error) {
	template, err := b.system.deployCode(ctx, b.system.account, "bench-tiny", tinyWorker)
	if err != nil {
		return nil, err
	}
	deployed, err := b.system.copyProject(ctx, template, b.deployedWorkers)
	if err != nil {
		return nil, fmt.Errorf("write %d releases: %w", b.deployedWorkers, err)
	}
	bare, err := newBareWorkerd(ctx, filepath.Join(b.dir, "workerd-cold"))
	if err != nil {
		return nil, err
	}
	rows, err := memoryRows(ctx, b, deployed, bare)
	if err != nil {
		return rows, err
	}
	cold, err := coldRows(ctx, b, deployed[:b.coldWorkers], bare)
	return append(rows, cold...), err
}

// deployCode puts a worker of one module live.
func (s *system) deployCode(ctx context.Context, owner account, name, code string) (*project, error) {
	p, err := s.newProject(ctx, owner, name)
	if err != nil {
		return nil, err
	}
	settings := fmt.Sprintf(`{"name":%q,"main":"index.js","compatibility_date":"2026-11-01"}`, name)
	_, err = p.deploy(ctx, []initFile{{Path: "wrangler.jsonc", Content: settings}, {Path: "index.js", Content: code}})
	return p, err
}

// copyProject writes the rows of n projects like one that is live: the same as
// deploying it n times, but for the time.
func (s *system) copyProject(ctx context.Context, template *project, n int) ([]*project, error) {
	conn, err := pgx.Connect(ctx, s.postgresURL)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var projects, deployments, releases, names []string
	copies := make([]*project, n)
	for i := range copies {
		copies[i] = &project{system: s, owner: template.owner, id: models.NewID(models.PrefixProject), worker: fmt.Sprintf("%s-%d", template.worker, i)}
		projects = append(projects, copies[i].id)
		deployments = append(deployments, models.NewID(models.PrefixDeployment))
		releases = append(releases, models.NewID(models.PrefixRelease))
		names = append(names, copies[i].worker)
	}
	const ids = `WITH ids AS (SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS v (project, deployment, release, name)) `
	for _, table := range []struct {
		name, where string
		changed     map[string]string
	}{
		{"projects", "id = $5", map[string]string{"id": "ids.project", "name": "ids.name", "worker_name": "ids.name", "live_release_id": "ids.release"}},
		{"deployments", "id = (SELECT deployment_id FROM releases WHERE id = (SELECT live_release_id FROM projects WHERE id = $5))",
			map[string]string{"id": "ids.deployment", "project_id": "ids.project", "release_id": "ids.release"}},
		{"releases", "id = (SELECT live_release_id FROM projects WHERE id = $5)",
			map[string]string{"id": "ids.release", "project_id": "ids.project", "deployment_id": "ids.deployment"}},
		{"routes", "project_id = $5", map[string]string{"key": "'w:' || ids.name", "project_id": "ids.project", "worker_name": "ids.name", "release_id": "ids.release"}},
	} {
		var columns []string
		err := conn.QueryRow(ctx, "SELECT array_agg(column_name::text) FROM information_schema.columns WHERE table_name = $1 AND is_generated = 'NEVER'", table.name).Scan(&columns)
		if err != nil {
			return nil, err
		}
		values := make([]string, len(columns))
		for i, column := range columns {
			values[i] = "t." + column
			if changed := table.changed[column]; changed != "" {
				values[i] = changed
			}
		}
		statement := fmt.Sprintf("%sINSERT INTO %s (%s) SELECT %s FROM ids, %s t WHERE t.%s", ids, table.name, strings.Join(columns, ", "),
			strings.Join(values, ", "), table.name, table.where)
		if _, err := conn.Exec(ctx, statement, projects, deployments, releases, names, template.id); err != nil {
			return nil, fmt.Errorf("copy into %s: %w", table.name, err)
		}
	}
	return copies, nil
}

// startEdge starts a dispatcher by itself, with a host for workers of its own.
func startEdge(ctx context.Context, s *system, dir string, env ...string) (*server, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	for _, shared := range []string{"blobs", "secret.key"} {
		if err := os.Symlink(filepath.Join(s.data, shared), filepath.Join(dir, shared)); err != nil {
			return nil, err
		}
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	return startServer(ctx, "the dispatcher", addr, "", child.Options{
		Path: filepath.Join(s.bin, "slipway"), Args: []string{"dispatcher"},
		Env: append(s.environment("SLIPWAY_DISPATCHER_ADDR="+addr, "SLIPWAY_DATA_DIR="+dir, "EDGE_MEMORY_BYTES=8589934592"), env...),
	})
}

// firstByte asks the project's page at a dispatcher.
func (p *project) firstByte(ctx context.Context, at *server) (time.Duration, error) {
	took, err := firstByte(ctx, at.addr, p.worker+".localhost")
	if err != nil {
		err = fmt.Errorf("%s: %w", p.worker, err)
	}
	return took, err
}

// firstByte asks a worker once on a new connection: the time until the first byte
// of a good answer.
func firstByte(ctx context.Context, addr, host string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, loadPatience)
	defer cancel()
	began := time.Now()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if _, err := conn.Write(newLoad(addr, host, "/", "identity", 1, 1).request); err != nil {
		return 0, err
	}
	reader := bufio.NewReader(conn)
	if _, err := reader.Peek(1); err != nil {
		return 0, err
	}
	took := time.Since(began)
	_, err = readAnswer(reader)
	return took, err
}

// memoryRows starts the first of many deployed workers and sees what is there
// then.
func memoryRows(ctx context.Context, b *bench, deployed []*project, bare *bareWorkerd) (rows []row, err error) {
	edge, err := startEdge(ctx, b.system, filepath.Join(b.dir, "edge-many"))
	if err != nil {
		return nil, err
	}
	defer edge.stop()
	// The first waits until the machine was seen to isolate.
	if _, err := deployed[0].firstByte(ctx, edge); err != nil {
		return nil, err
	}
	alone, err := residentMemory(edge.process.Pid())
	if err != nil {
		return nil, err
	}
	active := deployed[:b.activeWorkers]
	asking, asked := errgroup.WithContext(ctx)
	asking.SetLimit(4)
	for _, p := range active {
		asking.Go(func() error {
			for range requestsEach {
				if _, err := p.firstByte(asked, edge); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := asking.Wait(); err != nil {
		return nil, err
	}
	together, err := residentMemory(edge.process.Pid())
	if err != nil {
		return nil, err
	}
	pids, err := workerdProcesses(edge.process.Pid())
	if err != nil {
		return nil, err
	}
	if len(pids) != len(active) {
		return nil, fmt.Errorf("%d of %d deployed workers were asked and %d processes run", len(active), len(deployed), len(pids))
	}
	theirs, err := bare.memory(ctx)
	if err != nil {
		return nil, err
	}
	memory := row{name: rowWorkerMemory, peer: peerWorkerd, unit: mebibytes, aim: aimWorkerMemory, absolute: true}
	for _, pid := range pids {
		private, err := privateMemory(pid)
		if err != nil {
			return nil, err
		}
		memory.pairs = append(memory.pairs, pair{private, theirs})
	}
	if memory.missed() {
		memory.look = "  /proc/<pid>/smaps of a worker; V8's heap grows with requests until its first collection"
	}
	return []row{memory, {name: rowHostMemory, peer: peerHostAlone, unit: mebibytes, pairs: []pair{{together, alone}}}}, nil
}

// coldRows asks workers that were stopped for being idle, in turns with a start
// of workerd alone.
func coldRows(ctx context.Context, b *bench, workers []*project, bare *bareWorkerd) ([]row, error) {
	edge, err := startEdge(ctx, b.system, filepath.Join(b.dir, "edge-cold"), "EDGE_IDLE_TIMEOUT="+coldIdle.String())
	if err != nil {
		return nil, err
	}
	defer edge.stop()
	p50 := row{name: rowColdMedian, peer: peerWorkerd, unit: seconds, aim: aimColdRatio}
	p99 := row{name: rowColdLongest, peer: peerWorkerd, unit: seconds, aim: aimColdLongest, absolute: true}
	for round := range b.coldRounds + 1 {
		var pairs []pair
		for _, p := range workers {
			mine, err := p.firstByte(ctx, edge)
			if err != nil {
				return nil, err
			}
			if round == 0 {
				continue // its code was not on this machine yet
			}
			theirs, err := bare.start(ctx)
			if err != nil {
				return nil, err
			}
			pairs = append(pairs, pair{mine.Seconds(), theirs.Seconds()})
		}
		err := poll(ctx, time.Minute, "idle workers to be stopped", func() (bool, error) {
			pids, err := workerdProcesses(edge.process.Pid())
			return len(pids) == 0, err
		})
		if err != nil {
			return nil, err
		}
		p50.pairs = append(p50.pairs, pairs...)
	}
	p99.pairs = []pair{{percentile(ours(p50.pairs), 0.99), percentile(theirs(p50.pairs), 0.99)}}
	for _, r := range []*row{&p50, &p99} {
		if r.missed() {
			r.look = "  go test -run - -bench ColdStart ./edge ./sandbox/oci: the process, and what the host does around it"
		}
	}
	return []row{p50, p99}, nil
}

// percentile is the smallest value that so large a part of the values does not
// exceed.
func percentile(values []float64, part float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[max(0, int(math.Ceil(part*float64(len(sorted))))-1)]
}

// bareWorkerd starts workerd alone, on a socket that exists before it does, as
// ours does.
type bareWorkerd struct{ program, config string }

const tinyConfig = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .main) ],
  sockets = [ (name = "http", http = (), service = "main") ],
);
const main :Workerd.Worker = (
  modules = [ (name = "worker", esModule = embed "worker.js") ],
  compatibilityDate = "2026-11-01",
);
`

func newBareWorkerd(ctx context.Context, home string) (*bareWorkerd, error) {
	dir, err := toolchain.DefaultDir()
	if err != nil {
		return nil, err
	}
	tools, err := toolchain.Install(ctx, dir, os.Stderr)
	if err != nil {
		return nil, err
	}
	config, err := writeConfig(home, "config.capnp", tinyConfig)
	if err != nil {
		return nil, err
	}
	_, err = writeConfig(home, "worker.js", tinyWorker)
	return &bareWorkerd{program: tools.Tool("workerd"), config: config}, err
}

// run starts a process, hands it to use once it has answered, and ends it.
func (w *bareWorkerd) run(ctx context.Context, use func(pid int, addr string) error) (took time.Duration, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	socket, err := listener.(*net.TCPListener).File()
	if err != nil {
		return 0, err
	}
	defer socket.Close()
	cmd := exec.CommandContext(ctx, w.program, "serve", w.config, "--socket-fd", "http=3")
	cmd.ExtraFiles = []*os.File{socket}
	var said bytes.Buffer
	cmd.Stderr = &said
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	starting := time.Since(began)
	answer, err := firstByte(ctx, listener.Addr().String(), "bare")
	if err != nil {
		return 0, fmt.Errorf("bare workerd: %w\n%s", err, said.String())
	}
	return starting + answer, use(cmd.Process.Pid, listener.Addr().String())
}

// start is the time from nothing to the first byte.
func (w *bareWorkerd) start(ctx context.Context) (time.Duration, error) {
	return w.run(ctx, func(int, string) error { return nil })
}

// memory is what it holds after as many requests as ours had, in MiB.
func (w *bareWorkerd) memory(ctx context.Context) (private float64, err error) {
	_, err = w.run(ctx, func(pid int, addr string) error {
		for range requestsEach - 1 {
			if _, err := firstByte(ctx, addr, "bare"); err != nil {
				return err
			}
		}
		private, err = privateMemory(pid)
		return err
	})
	return private, err
}

// workerdProcesses are those that a dispatcher runs.
func workerdProcesses(dispatcher int) (pids []int, err error) {
	members, err := family(dispatcher)
	if err != nil {
		return nil, err
	}
	for _, member := range members {
		args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", member.pid))
		if err != nil {
			continue // it ended meanwhile
		}
		if program, _, _ := bytes.Cut(args, []byte{0}); filepath.Base(string(program)) == "workerd" {
			pids = append(pids, member.pid)
		}
	}
	return pids, nil
}

// privateMemory is what would be free if the process ended, in MiB; proc(5),
// smaps_rollup.
func privateMemory(pid int) (float64, error) {
	clean, err := memoryField(pid, "smaps_rollup", "Private_Clean:")
	if err != nil {
		return 0, err
	}
	dirty, err := memoryField(pid, "smaps_rollup", "Private_Dirty:")
	return clean + dirty, err
}

// residentMemory is what a process has in memory, in MiB; proc(5), status.
func residentMemory(pid int) (float64, error) { return memoryField(pid, "status", "VmRSS:") }

// memoryField reads a line such as "VmRSS:   1024 kB", in MiB.
func memoryField(pid int, file, field string) (float64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(content)) {
		if value, ok := strings.CutPrefix(line, field); ok {
			kilobytes, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kilobytes / 1024, err
		}
	}
	return 0, fmt.Errorf("%s of process %d has no %s", file, pid, field)
}
