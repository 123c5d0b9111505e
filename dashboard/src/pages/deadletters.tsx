// Deployments that failed for a reason of the platform's and wait for somebody.
import { post } from "../core/api";
import { count, plural } from "../core/format";
import { usePages } from "../core/resource";
import { href } from "../core/router";
import { may } from "../core/session";
import type { Deployment, Project } from "../core/types";
import { ask, say } from "../ui/notice";
import { Badge, Button, Empty, PageHead, Panel, Time, useAction } from "../ui/parts";
import { actions, Listing, Table } from "../ui/table";
import { useTitle } from "../ui/title";

export function DeadLetters() {
  useTitle("Dead letters");
  const list = usePages<Deployment>("/dead-letters", (e) => e.type === "deployment");
  const projects = usePages<Project>("/projects", (e) => e.type === "project");
  const names = new Map(projects.data?.map((p) => [p.id, p.name]));
  const items = list.data;
  const retryAll = () =>
    ask({
      title: "Retry all that is parked?",
      text: <p>Each resumes at the step that failed. Do it when what was wrong is put right; otherwise they come back here.</p>,
      action: "Retry all",
      run: async () => {
        const answer = await post<{ items: { ok: boolean }[]; failed: number; more: boolean }>("/dead-letters/retry", {});
        const done = answer.items.length - answer.failed;
        say(`${plural(done, "deployment")} resumed${answer.failed ? `, ${count(answer.failed)} did not` : ""}${answer.more ? "; there are more" : ""}.`, answer.failed ? "bad" : "ok");
        list.reload();
      },
    });
  return (
    <>
      <PageHead
        title="Dead letters"
        sub="Deployments that failed for a reason that is not the project's. They hold nothing but their quota."
        actions={
          may("developer") &&
          items &&
          items.length > 1 && (
            <Button kind="primary" onClick={retryAll}>
              Retry all
            </Button>
          )
        }
      />
      <Panel title="Parked deployments" bare>
        <Listing
          list={list}
          empty={
            <Empty title="Nothing is parked">
              <p>What fails for want of a machine, a network or a disk comes here and waits for a retry.</p>
            </Empty>
          }
        >
          {(parked) => (
            <Table label="Parked deployments" columns={["Deployment", "Project", { text: "What happened", wide: true }, { text: "Parked", right: true }, actions]}>
              {parked.map((d) => (
                <Letter key={d.id} d={d} name={names.get(d.projectId)} reload={list.reload} />
              ))}
            </Table>
          )}
        </Listing>
      </Panel>
    </>
  );
}

function Letter({ d, name, reload }: { d: Deployment; name?: string; reload: () => void }) {
  const retry = useAction(async () => {
    await post(`/deployments/${d.id}/retry`, {}).catch((thrown: Error) => {
      say(thrown.message, "bad");
    });
    reload();
  });
  const abandon = () =>
    ask({
      title: `Give up deployment #${d.sequence}${name ? ` of ${name}` : ""}?`,
      text: <p>It ends, and counts no longer against the quota. It cannot be retried after that.</p>,
      action: "Give it up",
      danger: true,
      run: async () => {
        await post(`/deployments/${d.id}/abandon`, {});
        reload();
      },
    });
  return (
    <tr data-deployment={d.id}>
      <td class="nowrap">
        <a data-row href={href("/deployments/" + d.id)}>
          #{d.sequence}
        </a>{" "}
        <Badge tone="warn">at {d.currentStep}</Badge>
      </td>
      <td>{name ?? "–"}</td>
      <td class="wide-only muted clip" title={d.error}>
        {d.error}
      </td>
      <td class="right nowrap">
        <Time at={d.updatedAt} />
      </td>
      <td class="right">
        {may("developer") && (
          <div class="row-actions">
            <Button small kind="quiet" onClick={abandon}>
              Give up
            </Button>
            <Button small onClick={() => void retry.run()} busy={retry.busy} label={`Retry deployment #${d.sequence}`}>
              Retry
            </Button>
          </div>
        )}
      </td>
    </tr>
  );
}
