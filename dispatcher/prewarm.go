package dispatcher

import (
	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
)

// prepare has the releases that a known route moved to started before somebody
// asks for them, while the earlier ones still answer what is under way. Nobody
// waits for it: a deployment has seen its release answer already.
func (d *Dispatcher) prepare(from, to *models.Route) {
	if to.WorkerDigest != "" && to.ReleaseID != from.ReleaseID && to.ReleaseID != from.CanaryReleaseID {
		d.opts.Workers.Prepare(edgeRelease(to), true)
	}
	if to.CanaryWorkerDigest != "" && to.CanaryReleaseID != from.CanaryReleaseID {
		d.opts.Workers.Prepare(edgeRelease(canaryOf(to)), false)
	}
}

func edgeRelease(r *models.Route) edge.Release {
	return edge.Release{
		ID: r.ReleaseID, OrganizationID: r.OrganizationID, ProjectID: r.ProjectID, WorkerName: r.WorkerName,
		WorkerDigest: r.WorkerDigest, ManifestDigest: r.ManifestDigest,
	}
}
