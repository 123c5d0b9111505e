// Releases, going back to one, and bringing one live step by step.
import { useState } from "preact/hooks";
import { post } from "../core/api";
import { bytes, plural, sentence, short } from "../core/format";
import { usePages } from "../core/resource";
import { href } from "../core/router";
import { may } from "../core/session";
import type { Project, Release, Rollout } from "../core/types";
import { ask, say } from "../ui/notice";
import { Badge, Button, Empty, More, Outside, Panel, Time } from "../ui/parts";
import { rolloutTone } from "../ui/state";
import { actions, Listing, Table } from "../ui/table";
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
      <Panel title="Releases" flush>
        <Listing
          list={releases}
          empty={
            <Empty title="No releases yet">
              <p>A deployment that succeeds makes one.</p>
            </Empty>
          }
        >
          {(items) => (
            <Table label="Releases" columns={["Release", { text: "Made of", wide: true }, { text: "Preview", wide: true }, { text: "Made", right: true }, actions]}>
              {items.map((r) => (
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
            </Table>
          )}
        </Listing>
      </Panel>
      {past.length > 0 && (
        <Panel title="Earlier rollouts" flush>
          <Table label="Earlier rollouts" columns={["State", { text: "Reached", right: true }, { text: "Why it ended", wide: true }, { text: "Began", right: true }]}>
            {past.map((r) => (
              <tr key={r.id}>
                <td>
                  <Badge tone={rolloutTone(r)}>{sentence(r.status)}</Badge>
                </td>
                <td class="right nowrap number">{r.percent} %</td>
                <td class="wide-only muted">{r.reason}</td>
                <td class="right nowrap">
                  <Time at={r.createdAt} />
                </td>
              </tr>
            ))}
          </Table>
          <More more={rollouts.more} loading={rollouts.loading} />
        </Panel>
      )}
      {starting && <NewRollout project={project} release={starting} close={() => setStarting(undefined)} />}
    </div>
  );
}
