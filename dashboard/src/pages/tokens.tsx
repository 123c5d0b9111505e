// API tokens: made, shown once, revoked.
import { useState } from "preact/hooks";
import { call, get, post } from "../core/api";
import { onDay } from "../core/format";
import { usePages, useResource } from "../core/resource";
import { organization, may } from "../core/session";
import type { Page, Project, Scope } from "../core/types";
import { Dialog } from "../ui/dialog";
import { ask } from "../ui/notice";
import { Badge, Button, Choice, Copy, Empty, ErrorNote, Field, PageHead, Panel, Tag, Time, useAction } from "../ui/parts";
import { actions, Listing, Table } from "../ui/table";
import { useTitle } from "../ui/title";

interface Token {
  id: string;
  name: string;
  prefix: string;
  scope: Scope;
  projectId?: string;
  createdBy: string;
  createdAt: string;
  lastUsedAt?: string;
  expiresAt?: string;
}

export function Tokens() {
  useTitle("API tokens");
  const list = usePages<Token>("/tokens", (e) => e.type === "token");
  const projects = useResource("/projects?limit=100", (signal) => get<Page<Project>>("/projects?limit=100", signal), (e) => e.type === "project");
  const names = new Map(projects.data?.items.map((p) => [p.id, p.name]));
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<{ name: string; token: string } | undefined>();
  const revoke = (t: Token) =>
    ask({
      title: `Revoke ${t.name}?`,
      text: <p>Whatever uses it is refused from the next request on.</p>,
      action: "Revoke it",
      danger: true,
      run: async () => {
        await call("DELETE", "/tokens/" + t.id);
        list.reload();
      },
    });
  return (
    <>
      <PageHead
        title="API tokens"
        sub={may("admin") ? `Of everybody in ${organization.value?.name}` : "Yours in this organization"}
        actions={
          <Button kind="primary" onClick={() => setMaking(true)}>
            New token
          </Button>
        }
      />
      <Panel title="Tokens" bare>
        <Listing
          list={list}
          empty={
            <Empty title="No tokens yet">
              <p>
                For scripts and CI. <code>slipway login</code> makes its own.
              </p>
            </Empty>
          }
        >
          {(items) => (
            <Table label="API tokens" columns={["Name", "May", { text: "Reaches", wide: true }, { text: "Ends", right: true, wide: true }, { text: "Last used", right: true, wide: true }, actions]}>
              {items.map((t) => (
                <tr key={t.id}>
                  <td>
                    {t.name} <code class="id">{t.prefix}…</code>
                  </td>
                  <td>
                    <Tag>{t.scope}</Tag>
                  </td>
                  <td class="wide-only muted">{t.projectId ? (names.get(t.projectId) ?? "One project") : "All projects"}</td>
                  <td class="right nowrap wide-only muted number">
                    <Ends at={t.expiresAt} />
                  </td>
                  <td class="right nowrap wide-only muted">{t.lastUsedAt ? <Time at={t.lastUsedAt} /> : "never"}</td>
                  <td class="right">
                    <Button small kind="quiet" onClick={() => revoke(t)} label={`Revoke ${t.name}`}>
                      Revoke
                    </Button>
                  </td>
                </tr>
              ))}
            </Table>
          )}
        </Listing>
      </Panel>
      {making && (
        <NewToken
          projects={projects.data?.items ?? []}
          close={() => setMaking(false)}
          made={(token) => {
            setMade(token);
            list.reload();
          }}
        />
      )}
      {made && <Secret title={`The token ${made.name}`} secret={made.token} what="the token" close={() => setMade(undefined)} />}
    </>
  );
}

function Ends({ at }: { at?: string }) {
  if (!at) return <>never</>;
  return Date.parse(at) < Date.now() ? <Badge tone="bad">Ended</Badge> : <>{onDay(at)}</>;
}

// Secret shows what is never shown again.
export function Secret({ title, secret, what, close }: { title: string; secret: string; what: string; close: () => void }) {
  return (
    <Dialog title={title} close={close}>
      <p>
        <strong>Copy it now.</strong> It is shown this once; only its beginning is kept.
      </p>
      <div class="secret">
        <code>{secret}</code>
        <Copy value={secret} what={what} />
      </div>
      <div class="form-actions">
        <Button kind="primary" onClick={close}>
          Done
        </Button>
      </div>
    </Dialog>
  );
}

function NewToken({ projects, close, made }: { projects: Project[]; close: () => void; made: (token: { name: string; token: string }) => void }) {
  const [name, setName] = useState("");
  const [scope, setScope] = useState(may("developer") ? "deploy" : "read");
  const [project, setProject] = useState("");
  const [days, setDays] = useState("90");
  const action = useAction(async () => {
    const token = await post<{ name: string; token: string }>("/tokens", {
      name,
      scope,
      ...(project ? { projectId: project } : {}),
      ...(days ? { expiresInDays: Number(days) } : {}),
    });
    close();
    made(token);
  });
  const scopes = [
    { value: "read", text: "Read: look at everything" },
    { value: "deploy", text: "Deploy: deploy, roll back, make projects" },
    { value: "admin", text: "Admin: all that your role may" },
  ];
  return (
    <Dialog title="New token" close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run();
        }}
      >
        <ErrorNote error={action.error} />
        <Field label="What it is for" placeholder="CI of the shop" required maxLength={100} autofocus problem={action.error?.field("name")} value={name} onInput={setName} />
        <Choice label="It may" value={scope} onChange={setScope} options={may("developer") ? scopes : scopes.slice(0, 1)} />
        <Choice label="It reaches" value={project} onChange={setProject} options={[{ value: "", text: "All projects" }, ...projects.map((p) => ({ value: p.id, text: p.name }))]} />
        <Choice
          label="It ends"
          value={days}
          onChange={setDays}
          options={[
            { value: "7", text: "In 7 days" },
            { value: "30", text: "In 30 days" },
            { value: "90", text: "In 90 days" },
            { value: "365", text: "In a year" },
            { value: "", text: "Never" },
          ]}
        />
        <div class="form-actions">
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" kind="primary" busy={action.busy}>
            Make the token
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
