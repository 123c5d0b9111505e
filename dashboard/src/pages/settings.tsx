// A project's settings.
import { useEffect, useState } from "preact/hooks";
import { call, callTagged, post } from "../core/api";
import { useResource } from "../core/resource";
import { navigate } from "../core/router";
import { may, organizations, switchTo } from "../core/session";
import type { Project } from "../core/types";
import { ask, say } from "../ui/notice";
import { Button, Choice, Copy, ErrorNote, Field, Panel, useAction } from "../ui/parts";

export function Settings({ project }: { project: Project }) {
  const path = "/projects/" + project.id;
  // The version that is shown goes along with a change, so that nobody's is overwritten unseen.
  const tagged = useResource(path + "#tagged", (signal) => callTagged<Project>("GET", path, { signal }), (e) => e.type === "project" && e.id === project.id);
  const [name, setName] = useState(project.name);
  const [workerName, setWorkerName] = useState(project.workerName);
  useEffect(() => {
    setName(project.name);
    setWorkerName(project.workerName);
  }, [project.name, project.workerName]);
  const tag: Record<string, string> = tagged.data?.etag ? { "If-Match": tagged.data.etag } : {};
  const save = useAction(async () => {
    await call("PATCH", path, { body: { name, ...(workerName !== project.workerName ? { workerName } : {}) }, headers: tag });
    say("Saved.");
    tagged.reload();
  });
  const remove = () =>
    ask({
      title: `Delete ${project.name}?`,
      text: (
        <p>
          It stops answering at once, also at its own domains. Its releases, variables, domains, logs and limited tokens are gone. <strong>There is no way back.</strong>
        </p>
      ),
      action: "Delete the project",
      danger: true,
      typed: project.workerName,
      run: async () => {
        await call("DELETE", `${path}?confirm=${encodeURIComponent(project.workerName)}`);
        say(`${project.name} is deleted.`);
        navigate("/", { replace: true });
      },
    });
  const renames = workerName !== project.workerName;
  return (
    <div class="stack">
      <Panel title="General">
        <form
          class="form"
          onSubmit={(event) => {
            event.preventDefault();
            void save.run();
          }}
        >
          <ErrorNote error={save.error} retry={save.error?.status === 412 ? tagged.reload : undefined} />
          <Field label="Name" required maxLength={100} disabled={!may("developer")} problem={save.error?.field("name")} value={name} onInput={setName} />
          <Field
            label="Address"
            required
            maxLength={63}
            autocomplete="off"
            spellcheck={false}
            disabled={!may("developer")}
            problem={save.error?.field("workerName")}
            hint={renames ? "The project answers there at once, and no longer at the old address, which stays reserved for the organization." : project.url}
            value={workerName}
            onInput={setWorkerName}
          />
          {may("developer") && (
            <div class="form-actions">
              <Button type="submit" kind="primary" busy={save.busy} disabled={name === project.name && !renames}>
                Save
              </Button>
            </div>
          )}
        </form>
      </Panel>
      <Panel title="For programs">
        <dl class="facts">
          <div>
            <dt>Project id</dt>
            <dd>
              <code>{project.id}</code> <Copy value={project.id} what="the project's id" />
            </dd>
          </div>
          <div>
            <dt>Organization id</dt>
            <dd>
              <code>{project.orgId}</code> <Copy value={project.orgId} what="the organization's id" />
            </dd>
          </div>
        </dl>
      </Panel>
      {may("admin") && <Transfer project={project} />}
      {may("admin") && (
        <Panel title="Delete the project">
          <div class="split">
            <p class="muted">With its releases, domains, variables and logs. There is no way back.</p>
            <Button kind="danger" onClick={remove}>
              Delete …
            </Button>
          </div>
        </Panel>
      )}
    </div>
  );
}

// Transfer gives the project to another organization in which one is an admin.
function Transfer({ project }: { project: Project }) {
  const others = organizations.value.filter((o) => o.id !== project.orgId && (o.role === "admin" || o.role === "owner"));
  const [to, setTo] = useState(others[0]?.id ?? "");
  const target = others.find((o) => o.id === to);
  if (!target) return null;
  const transfer = () =>
    ask({
      title: `Transfer ${project.name} to ${target.name}?`,
      text: <p>Its members see it from then on, and this organization's no longer do. It goes on answering where it does.</p>,
      action: "Transfer it",
      typed: project.workerName,
      run: async () => {
        await post(`/projects/${project.id}/transfer`, { orgId: target.id });
        say(`${project.name} belongs to ${target.name} now.`);
        switchTo(target.id);
        navigate("/projects/" + project.id, { replace: true });
      },
    });
  return (
    <Panel title="Transfer the project">
      <div class="split">
        <Choice hideLabel label="Organization that gets it" value={to} onChange={setTo} options={others.map((o) => ({ value: o.id, text: o.name }))} />
        <Button onClick={transfer}>Transfer …</Button>
      </div>
    </Panel>
  );
}
