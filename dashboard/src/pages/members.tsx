// Who belongs to the organization, and who is invited to.
import { useState } from "preact/hooks";
import { asError, call, post } from "../core/api";
import { onDay } from "../core/format";
import { usePages } from "../core/resource";
import { loadOrganizations, may, organization, user } from "../core/session";
import { navigate } from "../core/router";
import type { Role } from "../core/types";
import { Dialog } from "../ui/dialog";
import { ask, say } from "../ui/notice";
import { Button, Choice, Empty, ErrorNote, Field, More, PageHead, Panel, Tag, Time, useAction } from "../ui/parts";
import { actions, Listing, Table } from "../ui/table";
import { useTitle } from "../ui/title";

interface Member {
  userId: string;
  email: string;
  name: string;
  role: Role;
  joinedAt: string;
}

interface Invitation {
  id: string;
  email: string;
  role: Role;
  createdAt: string;
  expiresAt: string;
}

const roles: { value: Role; text: string }[] = [
  { value: "viewer", text: "Viewer" },
  { value: "developer", text: "Developer" },
  { value: "admin", text: "Admin" },
  { value: "owner", text: "Owner" },
];

const explained: Record<Role, string> = {
  viewer: "looks at everything but secrets",
  developer: "deploys and changes projects",
  admin: "also has members, tokens, webhooks, and deletes projects",
  owner: "also makes owners and ends the organization",
};

// giveable are the roles that one's own may give.
const giveable = () => roles.filter((r) => r.value !== "owner" || may("owner"));

export function Members() {
  useTitle("Members");
  const base = `/orgs/${organization.value?.id}`;
  const members = usePages<Member>(base + "/members", (e) => e.type === "member");
  const invitations = usePages<Invitation>(may("admin") ? base + "/invitations" : undefined, (e) => e.type === "invitation" || e.type === "member");
  const [inviting, setInviting] = useState(false);
  const change = async (m: Member, role: string) => {
    try {
      await call("PATCH", `${base}/members/${m.userId}`, { body: { role } });
      if (m.userId === user.value?.id) await loadOrganizations();
    } catch (thrown) {
      say(asError(thrown).message, "bad");
    }
    members.reload();
  };
  const remove = (m: Member) => {
    const self = m.userId === user.value?.id;
    ask({
      title: self ? `Leave ${organization.value?.name}?` : `Remove ${m.name || m.email}?`,
      text: <p>{self ? "Your" : "Their"} tokens of this organization are revoked.</p>,
      action: self ? "Leave" : "Remove",
      danger: true,
      run: async () => {
        await call("DELETE", `${base}/members/${m.userId}`);
        if (self) {
          await loadOrganizations();
          navigate("/");
        } else members.reload();
      },
    });
  };
  const withdraw = (i: Invitation) =>
    ask({
      title: `Withdraw the invitation of ${i.email}?`,
      text: <p>The link in the mail is of no use from then on.</p>,
      action: "Withdraw it",
      danger: true,
      run: async () => {
        await call("DELETE", `${base}/invitations/${i.id}`);
        invitations.reload();
      },
    });
  return (
    <>
      <PageHead
        title="Members"
        sub={`Who sees ${organization.value?.name}, and what they may do`}
        actions={
          may("admin") && (
            <Button kind="primary" onClick={() => setInviting(true)}>
              Invite somebody
            </Button>
          )
        }
      />
      <div class="stack">
        <Panel title="Members" bare>
          <Listing list={members} empty={<Empty title="Nobody" />}>
            {(items) => (
              <Table label="Members" columns={["Who", "Role", { text: "Since", right: true, wide: true }, actions]}>
                {items.map((m) => {
                  const self = m.userId === user.value?.id;
                  const mayChange = may("admin") && (m.role !== "owner" || may("owner"));
                  return (
                    <tr key={m.userId}>
                      <td>
                        <span class="person">{m.name || m.email}</span>
                        {m.name && <span class="muted"> {m.email}</span>} {self && <Tag>you</Tag>}
                      </td>
                      <td title={explained[m.role]}>
                        {mayChange ? (
                          <Choice hideLabel label={`Role of ${m.name || m.email}`} value={m.role} onChange={(role) => void change(m, role)} options={giveable()} />
                        ) : (
                          <Tag>{m.role}</Tag>
                        )}
                      </td>
                      <td class="right nowrap wide-only">
                        <Time at={m.joinedAt} />
                      </td>
                      <td class="right">
                        {(self || mayChange) && (
                          <Button small kind="quiet" onClick={() => remove(m)} label={self ? "Leave the organization" : `Remove ${m.name || m.email}`}>
                            {self ? "Leave" : "Remove"}
                          </Button>
                        )}
                      </td>
                    </tr>
                  );
                })}
              </Table>
            )}
          </Listing>
        </Panel>
        <ErrorNote error={invitations.error} retry={invitations.reload} />
        {invitations.data && invitations.data.length > 0 && (
          <Panel title="Invited" flush>
            <Table label="Invited" columns={["Address", "Role", { text: "Until", right: true, wide: true }, actions]}>
              {invitations.data.map((i) => (
                <tr key={i.id}>
                  <td>{i.email}</td>
                  <td>
                    <Tag>{i.role}</Tag>
                  </td>
                  <td class="right nowrap wide-only muted">{onDay(i.expiresAt)}</td>
                  <td class="right">
                    <Button small kind="quiet" onClick={() => withdraw(i)} label={`Withdraw the invitation of ${i.email}`}>
                      Withdraw
                    </Button>
                  </td>
                </tr>
              ))}
            </Table>
            <More more={invitations.more} loading={invitations.loading} />
          </Panel>
        )}
      </div>
      {inviting && <Invite path={base + "/invitations"} close={() => setInviting(false)} done={invitations.reload} />}
    </>
  );
}

function Invite({ path, close, done }: { path: string; close: () => void; done: () => void }) {
  const [email, setEmail] = useState("");
  const [role, setRole] = useState<Role>("developer");
  const action = useAction(async () => {
    await post(path, { email: email.trim(), role });
    say(`A link is on its way to ${email.trim()}.`);
    done();
    close();
  });
  return (
    <Dialog title="Invite somebody" close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run();
        }}
      >
        <ErrorNote error={action.error} />
        <Field label="E-mail" type="email" required maxLength={254} autofocus problem={action.error?.field("email")} value={email} onInput={setEmail} />
        <Choice label="Role" value={role} onChange={(value) => setRole(value as Role)} options={giveable()} />
        <p class="hint">A {role} {explained[role]}.</p>
        <div class="form-actions">
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" kind="primary" busy={action.busy}>
            Send the invitation
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
