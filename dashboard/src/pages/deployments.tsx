// All deployments of a project.
import { useState } from "preact/hooks";
import { usePages } from "../core/resource";
import type { Deployment, Project } from "../core/types";
import { History } from "../ui/chart";
import { DeploymentTable } from "../ui/deployments";
import { Choice, Empty, ErrorNote, Loading, More, Panel } from "../ui/parts";

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
      <ErrorNote error={list.error} retry={list.reload} />
      <Panel title="Deployments" flush actions={<Choice hideLabel label="Show" value={filter} onChange={setFilter} options={filters} />}>
        {!items && list.loading && <Loading />}
        {items?.length === 0 && <Empty title={filter ? "No deployment is like that" : "No deployments yet"} />}
        {items && items.length > 0 && <DeploymentTable deployments={items} liveReleaseId={project.liveReleaseId} />}
        <More more={list.more} loading={list.loading} />
      </Panel>
    </div>
  );
}
