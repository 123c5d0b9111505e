// One project: its parts under one head.
import type { ComponentChildren } from "preact";
import { get } from "../core/api";
import { useResource } from "../core/resource";
import { href } from "../core/router";
import { organizations, organization } from "../core/session";
import type { Project } from "../core/types";
import { ErrorNote, Loading, Outside, PageHead } from "../ui/parts";
import { useTitle } from "../ui/title";
import { Domains } from "./domains";
import { Overview } from "./overview";
import { Deployments } from "./deployments";
import { Releases } from "./releases";
import { Settings } from "./settings";
import { Variables } from "./variables";
import { WorkerLogs } from "./workerlogs";

const views: { name: string; text: string }[] = [
  { name: "overview", text: "Overview" },
  { name: "deployments", text: "Deployments" },
  { name: "releases", text: "Releases" },
  { name: "domains", text: "Domains" },
  { name: "variables", text: "Variables" },
  { name: "logs", text: "Logs" },
  { name: "settings", text: "Settings" },
];

export function ProjectPage({ id, view }: { id: string; view: string }) {
  const path = "/projects/" + encodeURIComponent(id);
  const project = useResource(path, (signal) => get<Project>(path, signal), (e) => e.type === "project" && e.id === id);
  const p = project.data;
  useTitle(p && `${p.name} ${view === "overview" ? "" : view}`);
  if (!p) {
    if (!project.error) return <Loading />;
    return (
      <>
        <ErrorNote error={project.error} retry={project.reload} />
        {project.error.status === 404 && organizations.value.length > 1 && (
          <p class="muted">
            This is looked for in {organization.value?.name}. If it belongs to another organization of yours, choose that one above.
          </p>
        )}
      </>
    );
  }
  return (
    <>
      <PageHead
        back={<a href={href("/")}>← Projects</a>}
        title={p.name}
        sub={p.liveReleaseId ? <Outside to={p.url} /> : <span>{p.workerName} · nothing live yet</span>}
        actions={
          p.liveReleaseId && (
            <Outside to={p.url}>
              <span class="button">Open the site ↗</span>
            </Outside>
          )
        }
      />
      <nav class="tabs" aria-label="Project">
        {views.map((v) => (
          <a key={v.name} href={href(v.name === "overview" ? path : path + "/" + v.name)} aria-current={v.name === view ? "page" : undefined}>
            {v.text}
          </a>
        ))}
      </nav>
      {shown(view, p)}
    </>
  );
}

function shown(view: string, p: Project): ComponentChildren {
  switch (view) {
    case "overview":
      return <Overview project={p} />;
    case "deployments":
      return <Deployments project={p} />;
    case "releases":
      return <Releases project={p} />;
    case "domains":
      return <Domains project={p} />;
    case "variables":
      return <Variables project={p} />;
    case "logs":
      return <WorkerLogs project={p} />;
    case "settings":
      return <Settings project={p} />;
  }
  return <p class="muted">A project has no such page.</p>;
}
