package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/slipwayhq/slipway/examples"
	"github.com/slipwayhq/slipway/models"
)

const (
	rowCold      = "cold deployment"
	rowWarm      = "warm deployment: source changed, lockfile not"
	rowUnchanged = "unchanged deployment"

	peerBuild = "npm ci && npm run build, empty npm cache"

	aimCold, aimWarm = 1.15, 0.25
	// aimUnchanged is in seconds.
	aimUnchanged = 1
)

// deployRows deploys the Vite and React example and builds it without Slipway,
// in turns: bare, cold, warm, unchanged. A cold deployment is the first of a new
// organization: it finds no install snapshot, no earlier result and no blob.
func deployRows(ctx context.Context, b *bench) ([]row, error) {
	bare, err := newBareBuild(ctx, b.dir)
	if err != nil {
		return nil, err
	}
	var cold, warm, unchanged deployTurns
	for turn := range b.deployPairs {
		if err := deployTurn(ctx, b, bare, turn, &cold, &warm, &unchanged); err != nil {
			return nil, fmt.Errorf("turn %d: %w", turn+1, err)
		}
	}
	return []row{
		{name: rowCold, peer: peerBuild, unit: seconds, pairs: cold.pairs, aim: aimCold, look: cold.look()},
		{name: rowWarm, peer: peerBuild, unit: seconds, pairs: warm.pairs, aim: aimWarm, look: warm.look()},
		{name: rowUnchanged, peer: peerBuild, unit: seconds, pairs: unchanged.pairs, aim: aimUnchanged, absolute: true, look: unchanged.look()},
	}, nil
}

func deployTurn(ctx context.Context, b *bench, bare *bareBuild, turn int, cold, warm, unchanged *deployTurns) error {
	project, files, err := b.system.newExample(ctx, turn)
	if err != nil {
		return err
	}
	peer, err := bare.run(ctx)
	if err != nil {
		return err
	}
	first, err := project.deploy(ctx, files)
	if err != nil {
		return fmt.Errorf("cold: %w", err)
	}
	cold.add(first, peer)
	for i := range files {
		if files[i].Path == "src/App.tsx" {
			files[i].Content += fmt.Sprintf("\nexport const turn = %d;\n", turn)
		}
	}
	second, err := project.deploy(ctx, files)
	if err != nil {
		return fmt.Errorf("warm: %w", err)
	}
	warm.add(second, peer)
	third, err := project.deploy(ctx, files)
	if err != nil {
		return fmt.Errorf("unchanged: %w", err)
	}
	unchanged.add(third, peer)
	say("  bare %.1f s, cold %.1f s, warm %.1f s, unchanged %.2f s", peer.total(), first.took, second.took, third.took)
	if first.snapshot || !second.snapshot || !third.status.Steps.Sandbox.Skipped {
		return errors.New("the caches did not behave as the rows are named: cold without snapshot, warm with it, unchanged without a build")
	}
	return nil
}

// project is a project of an account.
type project struct {
	system *system
	owner  account
	id     string
	worker string
}

type initFile struct {
	Path    string `json:"path"`
	Content string `json:"content"`
}

// newExample makes a project with the example's files in an organization of its own.
func (s *system) newExample(ctx context.Context, turn int) (*project, []initFile, error) {
	name := fmt.Sprintf("bench-cold-%d", turn)
	owner, err := s.newAccount(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	files, err := readFiles(examples.ViteReact())
	if err != nil {
		return nil, nil, err
	}
	p, err := s.newProject(ctx, owner, name)
	return p, files, err
}

func (s *system) newProject(ctx context.Context, owner account, name string) (*project, error) {
	var made struct {
		ID         string `json:"id"`
		WorkerName string `json:"workerName"`
	}
	if err := s.call(ctx, owner, http.MethodPost, "/projects", map[string]string{"name": name, "workerName": name}, &made); err != nil {
		return nil, err
	}
	return &project{system: s, owner: owner, id: made.ID, worker: made.WorkerName}, nil
}

func readFiles(source fs.FS) ([]initFile, error) {
	var files []initFile
	err := fs.WalkDir(source, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(source, path)
		files = append(files, initFile{Path: path, Content: string(content)})
		return err
	})
	return files, err
}

// deployment is one that succeeded.
type deployment struct {
	// took is in seconds, from the request to the last step's end as its client sees it.
	took     float64
	status   models.Status
	log      string
	snapshot bool
}

// deploymentPatience is more than any row may take on a slow machine.
const deploymentPatience = 10 * time.Minute

func (p *project) start(ctx context.Context, files []initFile) (id string, err error) {
	var answer struct {
		DeploymentID string `json:"deploymentId"`
	}
	err = p.system.call(ctx, p.owner, http.MethodPost, "/deploy",
		map[string]any{"projectId": p.id, "orgId": p.owner.OrgID, "userId": p.owner.UserID, "initFiles": files}, &answer)
	return answer.DeploymentID, err
}

// deploy sends the files and waits for the end.
func (p *project) deploy(ctx context.Context, files []initFile) (deployment, error) {
	ctx, cancel := context.WithTimeout(ctx, deploymentPatience)
	defer cancel()
	began := time.Now()
	id, err := p.start(ctx, files)
	if err != nil {
		return deployment{}, err
	}
	var d deployment
	for d.status.Progress < 100 && d.status.Outcome != models.OutcomeDeadLetter {
		// Asking costs the machine something too: never more than every fiftieth
		// part of the time that is being measured.
		wait := min(max(time.Since(began)/50, 5*time.Millisecond), 200*time.Millisecond)
		select {
		case <-ctx.Done():
			return d, fmt.Errorf("deployment %s: %w at step %s", id, ctx.Err(), d.status.CurrentStep)
		case <-time.After(wait):
		}
		if err := p.system.call(ctx, p.owner, http.MethodGet, "/deploy-status?id="+id, nil, &d.status); err != nil {
			return d, err
		}
	}
	d.took = time.Since(began).Seconds()
	if err := p.system.call(ctx, p.owner, http.MethodGet, "/deployments/"+id+"/logs", nil, &d.log); err != nil {
		return d, err
	}
	if d.status.Outcome != models.OutcomeSucceeded {
		return d, fmt.Errorf("deployment %s ended %s: %s\n%s", id, d.status.Outcome, d.status.Error, d.log)
	}
	d.snapshot = strings.Contains(d.log, "using its snapshot")
	return d, nil
}

// deployTurns are the turns of one row.
type deployTurns struct {
	pairs []pair
	last  deployment
	bare  bareTimes
}

func (t *deployTurns) add(d deployment, bare bareTimes) {
	t.pairs = append(t.pairs, pair{ours: d.took, theirs: bare.total()})
	t.last, t.bare = d, bare
}

// look says where the last turn's time went, step by step.
func (t *deployTurns) look() string {
	if len(t.pairs) == 0 {
		return ""
	}
	var out strings.Builder
	out.WriteString("  the last turn's steps:")
	for _, step := range models.AllSteps() {
		s := t.last.status.Steps.Of(step)
		if s.StartedAt == nil || s.Timestamp == nil || s.Skipped {
			fmt.Fprintf(&out, " %s –", step)
			continue
		}
		fmt.Fprintf(&out, " %s %.2f s", step, s.Timestamp.Sub(*s.StartedAt).Seconds())
	}
	fmt.Fprintf(&out, "; bare: npm ci %.1f s, npm run build %.1f s\n  its build log, commands and their times:", t.bare.install, t.bare.build)
	for line := range strings.Lines(t.last.log) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "$ ") || strings.HasPrefix(line, "(") {
			out.WriteString(" " + line)
		}
	}
	return out.String()
}
