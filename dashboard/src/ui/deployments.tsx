import { between, duration, sentence } from "../core/format";
import { href } from "../core/router";
import type { Deployment } from "../core/types";
import { Badge, Time } from "./parts";
import { deploymentState } from "./state";
import { Table } from "./table";

// DeploymentTable lists deployments, each a link to its page.
export function DeploymentTable({ deployments, liveReleaseId }: { deployments: Deployment[]; liveReleaseId?: string }) {
  return (
    <Table label="Deployments" columns={["Deployment", "State", { text: "What happened", wide: true }, { text: "Took", right: true }, { text: "When", right: true }]}>
        {deployments.map((d) => {
          const state = deploymentState(d, liveReleaseId);
          return (
            <tr key={d.id} class="row">
              <td>
                <a class="cover" data-row href={href("/deployments/" + d.id)}>
                  #{d.sequence}
                </a>
              </td>
              <td>
                <Badge tone={state.tone}>{state.text}</Badge>
              </td>
              <td class="wide-only muted clip" title={d.error}>{d.error ?? (d.status === "in_progress" && d.currentStep ? sentence(d.currentStep) + " …" : "")}</td>
              <td class="right nowrap number">{duration(between(d.createdAt, d.finishedAt))}</td>
              <td class="right nowrap">
                <Time at={d.createdAt} />
              </td>
            </tr>
          );
        })}
    </Table>
  );
}
