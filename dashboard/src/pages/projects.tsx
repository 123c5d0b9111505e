// All projects of the organization.
import { useMemo, useState } from "preact/hooks";
import { get, post } from "../core/api";
import { plural } from "../core/format";
import { usePages, useResource } from "../core/resource";
import { href, navigate } from "../core/router";
import { may } from "../core/session";
import type { Deployment, Page, Project } from "../core/types";
import { Dialog } from "../ui/dialog";
import { Badge, Button, Empty, ErrorNote, Field, Loading, More, Outside, PageHead, Time, useAction } from "../ui/parts";
import { deploymentState } from "../ui/state";
import { useTitle } from "../ui/title";

export function Projects() {
  useTitle("Projects");
  const [search, setSearch] = useState("");
  const [creating, setCreating] = useState(false);
  const projects = usePages<Project>("/projects", (e) => e.type === "project");
  // The latest of each project is among the latest of all, for those that are busy.
  const recent = useResource("/deployments?limit=100", (signal) => get<Page<Deployment>>("/deployments?limit=100", signal), (e) => e.type === "deployment");
  const latest = useMemo(() => {
    const byProject = new Map<string, Deployment>();
    for (const d of recent.data?.items ?? []) if (!byProject.has(d.projectId)) byProject.set(d.projectId, d);
    return byProject;
  }, [recent.data]);
  const wanted = search.trim().toLowerCase();
  const shown = projects.data?.filter((p) => !wanted || p.name.toLowerCase().includes(wanted) || p.workerName.includes(wanted));
  const mayCreate = may("developer");
  return (
    <>
      <PageHead
        title="Projects"
        actions={
          mayCreate && (
            <Button kind="primary" onClick={() => setCreating(true)}>
              New project
            </Button>
          )
        }
      />
      <ErrorNote error={projects.error} retry={projects.reload} />
      {projects.data && projects.data.length > 0 && (
        <div class="toolbar">
          <label class="unseen" for="search">
            Search projects
          </label>
          <input id="search" type="search" placeholder="Search projects   /" value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
          <span class="muted" role="status">
            {wanted ? `${plural(shown?.length ?? 0, "project")} found` : ""}
          </span>
        </div>
      )}
      {!projects.data && projects.loading && <Loading />}
      {projects.data?.length === 0 && (
        <Empty title="No projects yet">
          <p>A project is a folder of yours that answers at an address of its own.</p>
          {mayCreate && (
            <Button kind="primary" onClick={() => setCreating(true)}>
              Make the first one
            </Button>
          )}
        </Empty>
      )}
      {shown && shown.length === 0 && wanted && <Empty title={projects.more ? "None of those loaded fits" : "No project fits"} />}
      {shown && shown.length > 0 && (
        <ul class="cards">
          {shown.map((p) => {
            const d = latest.get(p.id);
            const state = d && deploymentState(d, p.liveReleaseId);
            return (
              <li key={p.id} class="project-card">
                <a class="cover" data-row href={href("/projects/" + p.id)}>
                  <span class="name" title={p.name}>
                    {p.name}
                  </span>
                </a>
                <p class="address">{p.liveReleaseId ? <Outside to={p.url} /> : <span class="muted">Nothing is live yet</span>}</p>
                <p class="meta">
                  {d && state ? (
                    <>
                      <Badge tone={state.tone}>{state.text}</Badge>
                      <span class="muted">
                        #{d.sequence} · <Time at={d.createdAt} />
                      </span>
                    </>
                  ) : (
                    <span class="muted">
                      {p.liveReleaseId ? "Changed" : "Made"} <Time at={p.updatedAt} />
                    </span>
                  )}
                </p>
              </li>
            );
          })}
        </ul>
      )}
      <More more={projects.more} loading={projects.loading} />
      {creating && <NewProject close={() => setCreating(false)} />}
    </>
  );
}

function NewProject({ close }: { close: () => void }) {
  const [name, setName] = useState("");
  const [workerName, setWorkerName] = useState("");
  const action = useAction(async () => {
    const made = await post<Project>("/projects", { name, ...(workerName.trim() ? { workerName: workerName.trim() } : {}) });
    close();
    navigate("/projects/" + made.id);
  });
  return (
    <Dialog title="New project" close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run();
        }}
      >
        <ErrorNote error={action.error} />
        <Field label="Name" required maxLength={100} autofocus problem={action.error?.field("name")} value={name} onInput={setName} />
        <Field
          label="Address"
          placeholder="made from the name"
          maxLength={40}
          autocomplete="off"
          spellcheck={false}
          hint="The first label of the project's address: letters, digits and hyphens"
          problem={action.error?.field("workerName")}
          value={workerName}
          onInput={setWorkerName}
        />
        <div class="form-actions">
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" kind="primary" busy={action.busy}>
            Make the project
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
