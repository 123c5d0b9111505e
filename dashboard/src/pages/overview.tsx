// A project at a glance: what is live, what is on its way, and where to drop the next.
import { get } from "../core/api";
import { bytes, plural, short } from "../core/format";
import { useResource } from "../core/resource";
import { href } from "../core/router";
import type { Deployment, Page, Project, Release, Rollout } from "../core/types";
import { Drop } from "../deploy/drop";
import { History } from "../ui/chart";
import { DeploymentTable } from "../ui/deployments";
import { ErrorNote, Loading, Outside, Panel, Time } from "../ui/parts";
import { RolloutCard } from "./rollouts";

export function Overview({ project }: { project: Project }) {
  const list = `/deployments?limit=40&projectId=${project.id}`;
  const deployments = useResource(list, (signal) => get<Page<Deployment>>(list, signal), (e) => e.type === "deployment" && e.projectId === project.id);
  const releasesPath = `/projects/${project.id}/releases?limit=20`;
  const releases = useResource(
    releasesPath,
    (signal) => get<Page<Release>>(releasesPath, signal),
    (e) => e.projectId === project.id && (e.type === "release" || e.type === "project"),
  );
  const rolloutsPath = `/projects/${project.id}/rollouts?limit=1`;
  const rollouts = useResource(rolloutsPath, (signal) => get<Page<Rollout>>(rolloutsPath, signal), (e) => e.type === "rollout" && e.projectId === project.id);
  const live = releases.data?.items.find((r) => r.live);
  const running = rollouts.data?.items.find((r) => r.status === "running");
  const items = deployments.data?.items;
  const first = items?.length === 0;
  return (
    <div class="stack">
      <Drop project={project} first={first} />
      {running && <RolloutCard rollout={running} releases={releases.data?.items ?? []} />}
      {!first && (
        <div class="columns">
          <Panel title="Live">
            {live ? (
              <LiveRelease project={project} release={live} />
            ) : releases.loading ? (
              <Loading />
            ) : (
              <p class="muted">{project.liveReleaseId ? `Release ${short(project.liveReleaseId)}` : "Nothing is live yet."}</p>
            )}
          </Panel>
          <Panel title="How long deployments take">{items ? <History deployments={items} /> : <Loading />}</Panel>
        </div>
      )}
      <ErrorNote error={deployments.error} retry={deployments.reload} />
      {items && items.length > 0 && (
        <Panel title="Latest deployments" flush actions={<a href={href(`/projects/${project.id}/deployments`)}>All deployments</a>}>
          <DeploymentTable deployments={items.slice(0, 6)} liveReleaseId={project.liveReleaseId} />
        </Panel>
      )}
      {first && (
        <Panel title="Or from a terminal">
          <pre class="snippet" tabIndex={0} aria-label="Commands">
            slipway login{"\n"}slipway deploy --name {project.workerName}
          </pre>
        </Panel>
      )}
    </div>
  );
}

function LiveRelease({ project, release }: { project: Project; release: Release }) {
  return (
    <dl class="facts">
      <div>
        <dt>Address</dt>
        <dd>
          <Outside to={project.url} />
        </dd>
      </div>
      <div>
        <dt>Release</dt>
        <dd>
          <a href={href("/deployments/" + release.deploymentId)}>#{release.sequence}</a> <span class="muted">· {release.framework || "files"}{release.worker ? " · with server code" : ""}</span>
        </dd>
      </div>
      <div>
        <dt>Made</dt>
        <dd>
          <Time at={release.createdAt} />
        </dd>
      </div>
      <div>
        <dt>Files</dt>
        <dd>
          {plural(release.files, "file")}, {bytes(release.bytes)}
        </dd>
      </div>
    </dl>
  );
}
