// Variables and secrets of a project.
import { useState } from "preact/hooks";
import { call, get } from "../core/api";
import { useResource } from "../core/resource";
import { href } from "../core/router";
import { may } from "../core/session";
import type { Project, Variable } from "../core/types";
import { Dialog } from "../ui/dialog";
import { ask } from "../ui/notice";
import { Button, Empty, ErrorNote, Field, Panel, Tag, Time, useAction } from "../ui/parts";
import { actions, Listing, Table } from "../ui/table";

interface Changed {
  items: Variable[];
  deploymentId?: string;
}

export function Variables({ project }: { project: Project }) {
  const path = `/projects/${project.id}/variables`;
  const list = useResource(path, (signal) => get<{ items: Variable[] }>(path, signal), (e) => e.type === "variables" && e.id === project.id);
  const [editing, setEditing] = useState<Variable | "new" | undefined>();
  const [deployment, setDeployment] = useState<string | undefined>();
  const took = (answer: Changed) => {
    list.set({ items: answer.items });
    setDeployment(answer.deploymentId);
  };
  const remove = (v: Variable) =>
    ask({
      title: `Remove ${v.name}?`,
      text: <p>{project.liveReleaseId ? "A new release without it goes live, without a build." : "It is gone from the next deployment on."}</p>,
      action: "Remove it",
      danger: true,
      run: async () => took(await call<Changed>("PATCH", path, { body: { remove: [v.name] } })),
    });
  return (
    <div class="stack">
      {deployment && (
        <p class="note" role="status">
          <span>
            The change goes live with <a href={href("/deployments/" + deployment)}>a deployment of its own</a>, without a build.
          </span>
        </p>
      )}
      <Panel
        title="Variables and secrets"
        flush
        actions={
          may("developer") && (
            <Button small kind="primary" onClick={() => setEditing("new")}>
              Add
            </Button>
          )
        }
      >
        <Listing
          list={{ ...list, data: list.data?.items, set: (items) => list.set({ items }) }}
          empty={
            <Empty title="None yet">
              <p>
                A worker finds them in <code>env</code>. A release keeps the values it was made with.
              </p>
            </Empty>
          }
        >
          {(items) => (
            <Table label="Variables and secrets" columns={["Name", "Value", { text: "Set", right: true, wide: true }, actions]}>
              {items.map((v) => (
                <tr key={v.name}>
                  <td>
                    <code>{v.name}</code>
                  </td>
                  <td class="clip" title={v.value}>
                    {v.secret ? <Tag>secret</Tag> : <code>{v.value}</code>}
                  </td>
                  <td class="right nowrap wide-only">
                    <Time at={v.updatedAt} />
                  </td>
                  <td class="right">
                    {may("developer") && (
                      <div class="row-actions">
                        <Button small kind="quiet" onClick={() => setEditing(v)} label={`Change ${v.name}`}>
                          Change
                        </Button>
                        <Button small kind="quiet" onClick={() => remove(v)} label={`Remove ${v.name}`}>
                          Remove
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
      {editing && <Edit path={path} variable={editing === "new" ? undefined : editing} live={!!project.liveReleaseId} took={took} close={() => setEditing(undefined)} />}
    </div>
  );
}

function Edit({ path, variable, live, took, close }: { path: string; variable?: Variable; live: boolean; took: (answer: Changed) => void; close: () => void }) {
  const [name, setName] = useState(variable?.name ?? "");
  const [value, setValue] = useState(variable?.value ?? "");
  const [secret, setSecret] = useState(variable?.secret ?? false);
  const [deploy, setDeploy] = useState(true);
  const action = useAction(async () => {
    took(await call<Changed>("PATCH", path, { body: { set: [{ name: name.trim(), value, secret }], deploy } }));
    close();
  });
  return (
    <Dialog title={variable ? `Change ${variable.name}` : "Add a variable"} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run();
        }}
      >
        <ErrorNote error={action.error} />
        {!variable && <Field label="Name" required maxLength={128} pattern="[A-Za-z_][A-Za-z0-9_]*" autocomplete="off" spellcheck={false} autofocus hint="Letters, digits and _" value={name} onInput={setName} />}
        <div class="field">
          <label for="variable-value">Value</label>
          <textarea id="variable-value" rows={4} spellcheck={false} autocomplete="off" value={value} onInput={(event) => setValue(event.currentTarget.value)} />
        </div>
        <label class="check">
          <input type="checkbox" checked={secret} disabled={variable?.secret} onChange={(event) => setSecret(event.currentTarget.checked)} /> Secret: never shown again
        </label>
        {live && (
          <label class="check">
            <input type="checkbox" checked={deploy} onChange={(event) => setDeploy(event.currentTarget.checked)} /> Put the change live now, without a build
          </label>
        )}
        <div class="form-actions">
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" kind="primary" busy={action.busy}>
            Save
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
