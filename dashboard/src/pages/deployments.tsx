// All deployments of a project.
import { useState } from "preact/hooks";
import { usePages } from "../core/resource";
import type { Deployment, Project } from "../core/types";
import { History } from "../ui/chart";
import { DeploymentTable } from "../ui/deployments";
import { Choice, Empty, Panel } from "../ui/parts";
import { Listing } from "../ui/table";

const filters = [
  { value: "", text: "All" },
  { value: "status=in_progress", text: "Running" },
  { value: "status=queued", text: "Queued" },
  { value: "outcome=succeeded", text: "Went live" },
  { value: "outcome=rejected", text: "Failed" },
  { value: "outcome=dead_letter", text: "Parked" },
  { value: "outcome=canceled", text: "Canceled" },
];

export function Deployments({ project }: { project: Project }) {
  const [filter, setFilter] = useState("");
  const list = usePages<Deployment>(`/deployments?projectId=${project.id}${filter && "&" + filter}`, (e) => e.type === "deployment" && e.projectId === project.id);
  const items = list.data;
  return (
    <div class="stack">
      {items && items.length > 1 && (
        <Panel title="Durations">
          <History deployments={items} />
        </Panel>
      )}
      <Panel title="Deployments" flush actions={<Choice hideLabel label="Show" value={filter} onChange={setFilter} options={filters} />}>
        <Listing list={list} empty={<Empty title={filter ? "No deployment is like that" : "No deployments yet"} />}>
          {(shown) => <DeploymentTable deployments={shown} liveReleaseId={project.liveReleaseId} />}
        </Listing>
      </Panel>
    </div>
  );
}
