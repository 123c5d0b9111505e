// Releases, going back to one, and bringing one live step by step.
import { useState } from "preact/hooks";
import { post } from "../core/api";
import { bytes, plural, short } from "../core/format";
import { usePages } from "../core/resource";
import { href } from "../core/router";
import { may } from "../core/session";
import type { Project, Release, Rollout } from "../core/types";
import { ask, say } from "../ui/notice";
import { Badge, Button, Empty, ErrorNote, Loading, More, Outside, Panel, Time } from "../ui/parts";
import { rolloutTone } from "../ui/state";
import { NewRollout, RolloutCard } from "./rollouts";

export function Releases({ project }: { project: Project }) {
  const releases = usePages<Release>(`/projects/${project.id}/releases`, (e) => e.projectId === project.id && (e.type === "release" || e.type === "project"));
  const rollouts = usePages<Rollout>(`/projects/${project.id}/rollouts`, (e) => e.type === "rollout" && e.projectId === project.id);
  const [starting, setStarting] = useState<Release | undefined>();
  const running = rollouts.data?.find((r) => r.status === "running");
  const past = rollouts.data?.filter((r) => r.status !== "running") ?? [];
  const goBack = (release: Release) =>
    ask({
      title: `Put release #${release.sequence} live?`,
      text: <p>It takes over from what is live at once, without a build. Nothing is lost: the other release can come back the same way.</p>,
      action: "Put it live",
      run: async () => {
        await post(`/projects/${project.id}/rollback`, { releaseId: release.id });
        say(`Release #${release.sequence} is live.`);
        releases.reload();
      },
    });
  return (
    <div class="stack">
      {running && <RolloutCard rollout={running} releases={releases.data ?? []} />}
      <ErrorNote error={releases.error} retry={releases.reload} />
      <Panel title="Releases" flush>
        {!releases.data && releases.loading && <Loading />}
        {releases.data?.length === 0 && <Empty title="No releases yet">A deployment that succeeds makes one.</Empty>}
        {releases.data && releases.data.length > 0 && (
          <table class="list">
            <thead>
              <tr>
                <th scope="col">Release</th>
                <th scope="col" class="wide-only">
                  Made of
                </th>
                <th scope="col" class="wide-only">
                  Preview
                </th>
                <th scope="col" class="right">
                  Made
                </th>
                <th scope="col">
                  <span class="unseen">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {releases.data.map((r) => (
                <tr key={r.id} data-release={r.id}>
                  <td class="nowrap">
                    <a data-row href={href("/deployments/" + r.deploymentId)}>
                      #{r.sequence}
                    </a>{" "}
                    {r.live && <Badge tone="ok">Live</Badge>}
                  </td>
                  <td class="wide-only muted">
                    {r.framework || "files"} · {plural(r.files, "file")}, {bytes(r.bytes)}
                    {r.worker && " · server code"}
                  </td>
                  <td class="wide-only">
                    <Outside to={r.previewUrl}>{short(r.id)} ↗</Outside>
                  </td>
                  <td class="right nowrap">
                    <Time at={r.createdAt} />
                  </td>
                  <td class="right">
                    {!r.live && project.liveReleaseId && may("developer") && (
                      <div class="row-actions">
                        {!running && (
                          <Button small kind="quiet" onClick={() => setStarting(r)} title="Bring it live step by step">
                            Roll out
                          </Button>
                        )}
                        <Button small onClick={() => goBack(r)} label={`Put release #${r.sequence} live`}>
                          Put live
                        </Button>
                      </div>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
        <More more={releases.more} loading={releases.loading} />
      </Panel>
      {past.length > 0 && (
        <Panel title="Earlier rollouts" flush>
          <table class="list">
            <thead>
              <tr>
                <th scope="col">State</th>
                <th scope="col">Reached</th>
                <th scope="col" class="wide-only">
                  Why it ended
                </th>
                <th scope="col" class="right">
                  Began
                </th>
              </tr>
            </thead>
            <tbody>
              {past.map((r) => (
                <tr key={r.id}>
                  <td>
                    <Badge tone={rolloutTone(r)}>{r.status}</Badge>
                  </td>
                  <td class="number">{r.percent} %</td>
                  <td class="wide-only muted">{r.reason}</td>
                  <td class="right nowrap">
                    <Time at={r.createdAt} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          <More more={rollouts.more} loading={rollouts.loading} />
        </Panel>
      )}
      {starting && <NewRollout project={project} release={starting} close={() => setStarting(undefined)} />}
    </div>
  );
}
