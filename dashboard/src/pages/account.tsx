// Oneself: name, password, sessions, invitations, organizations.
import { useState } from "preact/hooks";
import { call, get, post } from "../core/api";
import { usePages, useResource } from "../core/resource";
import { navigate, place } from "../core/router";
import { loadOrganizations, organizations, switchTo, user } from "../core/session";
import type { Organization, Role } from "../core/types";
import { Dialog } from "../ui/dialog";
import { ask, say } from "../ui/notice";
import { Badge, Button, Empty, ErrorNote, Field, Loading, PageHead, Panel, Tag, Time, useAction } from "../ui/parts";
import { actions, Listing, Table } from "../ui/table";
import { useTitle } from "../ui/title";
import { OrganizationForm } from "./organization";
import { readable } from "./sign";

export function Account() {
  useTitle("Account");
  const creating = place.value.query.get("new") === "organization";
  const close = () => navigate("/account", { replace: true });
  // No event tells of these entries: they are of no organization.
  const activity = usePages<Deed>("/me/audit", () => false);
  return (
    <>
      <PageHead title="Account" sub={user.value?.email} />
      <div class="stack">
        <OwnInvitations />
        <Panel
          title="Organizations"
          flush
          actions={
            <Button small onClick={() => navigate("/account?new=organization")}>
              New organization
            </Button>
          }
        >
          <Table label="Organizations" columns={["Name", "Your role", actions]}>
            {organizations.value.map((o) => (
              <tr key={o.id}>
                <td>{o.name}</td>
                <td>
                  <Tag>{o.role}</Tag>
                </td>
                <td class="right">
                  <Button
                    small
                    kind="quiet"
                    label={`Open ${o.name}`}
                    onClick={() => {
                      switchTo(o.id);
                      navigate("/");
                    }}
                  >
                    Open
                  </Button>
                </td>
              </tr>
            ))}
          </Table>
        </Panel>
        <Name changed={activity.reload} />
        <Password changed={activity.reload} />
        <Sessions changed={activity.reload} />
        <Activity list={activity} />
      </div>
      {creating && (
        <Dialog title="New organization" close={close}>
          <OrganizationForm done={close} />
        </Dialog>
      )}
    </>
  );
}

// Changes says that something was done that the log of the account has.
interface Changes {
  changed: () => void;
}

function Name({ changed }: Changes) {
  const [name, setName] = useState(user.value?.name ?? "");
  const action = useAction(async () => {
    await post("/api/auth/update-user", { name });
    if (user.value) user.value = { ...user.value, name };
    say("Saved.");
    changed();
  });
  return (
    <Panel title="Name">
      <form
        class="inline-form"
        onSubmit={(event) => {
          event.preventDefault();
          void action.run();
        }}
      >
        <Field label="How others see you" required maxLength={100} autocomplete="name" value={name} onInput={setName} />
        <Button type="submit" busy={action.busy} disabled={name === user.value?.name}>
          Save
        </Button>
      </form>
      <ErrorNote error={action.error} />
    </Panel>
  );
}

function Password({ changed }: Changes) {
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const [others, setOthers] = useState(true);
  const action = useAction(async () => {
    await post("/api/auth/change-password", { currentPassword: current, newPassword: next, revokeOtherSessions: others });
    setCurrent("");
    setNext("");
    say("The password is changed.");
    changed();
  });
  return (
    <Panel title="Password">
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void action.run();
        }}
      >
        <ErrorNote error={readable(action.error)} />
        <input class="unseen" type="email" autocomplete="username" value={user.value?.email ?? ""} readOnly tabIndex={-1} aria-hidden="true" />
        <Field label="Current password" type="password" required autocomplete="current-password" value={current} onInput={setCurrent} />
        <Field label="New password" type="password" required minLength={8} maxLength={128} autocomplete="new-password" hint="At least 8 characters" value={next} onInput={setNext} />
        <label class="check">
          <input type="checkbox" checked={others} onChange={(event) => setOthers(event.currentTarget.checked)} /> Sign out everywhere else
        </label>
        <div class="form-actions">
          <Button type="submit" busy={action.busy}>
            Change the password
          </Button>
        </div>
      </form>
    </Panel>
  );
}

interface Session {
  id: string;
  token: string;
  ipAddress: string;
  userAgent: string;
  createdAt: string;
  updatedAt: string;
}

function Sessions({ changed }: Changes) {
  const list = useResource("sessions", async (signal) => {
    const [all, own] = await Promise.all([get<Session[]>("/api/auth/list-sessions", signal), get<{ session: { id: string } } | null>("/api/auth/get-session", signal)]);
    return { all, own: own?.session.id };
  });
  const end = useAction(async (session: Session) => {
    await post("/api/auth/revoke-session", { token: session.token });
    list.reload();
    changed();
  });
  const endOthers = () =>
    ask({
      title: "Sign out everywhere else?",
      text: <p>Every other browser has to sign in again.</p>,
      action: "Sign out everywhere else",
      run: async () => {
        await post("/api/auth/revoke-other-sessions", {});
        list.reload();
        changed();
      },
    });
  const sessions = list.data?.all;
  return (
    <Panel
      title="Where you are signed in"
      flush
      actions={
        sessions &&
        sessions.length > 1 && (
          <Button small onClick={endOthers}>
            Sign out everywhere else
          </Button>
        )
      }
    >
      <ErrorNote error={list.error ?? end.error} retry={list.error && list.reload} />
      {!sessions && list.loading && <Loading />}
      {sessions && (
        <Table label="Where you are signed in" columns={["Browser", { text: "Address", wide: true }, { text: "Last seen", right: true }, actions]}>
          {sessions.map((s) => (
            <tr key={s.id}>
              <td>
                {browserOf(s.userAgent)} {s.id === list.data?.own && <Badge tone="ok">This one</Badge>}
              </td>
              <td class="wide-only muted nowrap number">{s.ipAddress}</td>
              <td class="right nowrap">
                <Time at={s.updatedAt} />
              </td>
              <td class="right">
                {s.id !== list.data?.own && (
                  <Button small kind="quiet" onClick={() => void end.run(s)} label={`Sign out ${browserOf(s.userAgent)}`}>
                    Sign out
                  </Button>
                )}
              </td>
            </tr>
          ))}
        </Table>
      )}
    </Panel>
  );
}

interface Deed {
  id: string;
  action: string;
  outcome: "succeeded" | "refused";
  address?: string;
  userAgent?: string;
  createdAt: string;
}

// deeds are what people call the operations that the log of an account has.
const deeds: Record<string, string> = {
  "sign-up-with-email": "New account",
  "verify-email": "Address confirmed",
  "sign-in-with-email": "Sign-in",
  "sign-in-callback": "Sign-in with GitHub",
  "sign-out": "Sign-out",
  "revoke-session": "Session ended",
  "revoke-sessions": "Sign-out everywhere",
  "revoke-other-sessions": "Sign-out everywhere else",
  "change-password": "Change of the password",
  "request-password-reset": "Request for a new password",
  "reset-password": "New password by mail",
  "update-user": "Change of name or picture",
  "approve-device": "Program let in",
  "deny-device": "Program turned away",
};

function Activity({ list }: { list: ReturnType<typeof usePages<Deed>> }) {
  return (
    <Panel title="Recent activity" flush>
      <Listing list={list} empty={<Empty title="Nothing yet" />}>
        {(items) => (
          <Table label="Recent activity" columns={["What", { text: "With", wide: true }, { text: "Address", wide: true }, { text: "When", right: true }]}>
            {items.map((e) => (
              <tr key={e.id}>
                <td>
                  {deeds[e.action] ?? <code>{e.action}</code>} {e.outcome === "refused" && <Badge tone="bad">Refused</Badge>}
                </td>
                <td class="wide-only" title={e.userAgent}>
                  {browserOf(e.userAgent ?? "")}
                </td>
                <td class="wide-only muted nowrap number">{e.address}</td>
                <td class="right nowrap">
                  <Time at={e.createdAt} />
                </td>
              </tr>
            ))}
          </Table>
        )}
      </Listing>
    </Panel>
  );
}

// browserOf is what people call the browser that a user agent names.
function browserOf(agent: string): string {
  const browser = /Edg\//.test(agent) ? "Edge" : /Firefox\//.test(agent) ? "Firefox" : /Chrome\//.test(agent) ? "Chrome" : /Safari\//.test(agent) ? "Safari" : "";
  const system = /Android/.test(agent) ? "Android" : /iPhone|iPad/.test(agent) ? "iOS" : /Mac OS X/.test(agent) ? "macOS" : /Windows/.test(agent) ? "Windows" : /Linux/.test(agent) ? "Linux" : "";
  if (!browser) return agent.slice(0, 60) || "An unknown program";
  return system ? `${browser} on ${system}` : browser;
}

interface OwnInvitation {
  id: string;
  orgName: string;
  inviterName: string;
  role: Role;
  expiresAt: string;
}

// OwnInvitations are those that somebody with a confirmed address can accept here.
export function OwnInvitations() {
  const list = useResource("/invitations", (signal) => get<{ items: OwnInvitation[] }>("/invitations", signal));
  const accept = useAction(async (invitation: OwnInvitation) => {
    const joined = await call<Organization>("POST", "/invitations/accept", { body: { invitationId: invitation.id } });
    await loadOrganizations();
    switchTo(joined.id);
    say(`You belong to ${joined.name} now.`);
    navigate("/");
  });
  const items = list.data?.items ?? [];
  if (items.length === 0) return null;
  return (
    <Panel title="Invitations" flush>
      <ErrorNote error={accept.error} />
      <Table label="Invitations" columns={["Organization", "Role", actions]}>
        {items.map((i) => (
          <tr key={i.id}>
            <td>
              <strong>{i.orgName}</strong> <span class="muted">by {i.inviterName}</span>
            </td>
            <td>
              <Tag>{i.role}</Tag>
            </td>
            <td class="right">
              <Button small kind="primary" onClick={() => void accept.run(i)} busy={accept.busy} label={`Accept the invitation to ${i.orgName}`}>
                Accept
              </Button>
            </td>
          </tr>
        ))}
      </Table>
    </Panel>
  );
}
