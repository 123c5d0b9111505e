// Organizations that one is invited to.
import { call, get } from "../core/api";
import { useResource } from "../core/resource";
import { navigate } from "../core/router";
import { loadOrganizations, switchTo } from "../core/session";
import type { Organization, Role } from "../core/types";
import { say } from "../ui/notice";
import { Button, ErrorNote, Panel, Tag, useAction } from "../ui/parts";
import { actions, Table } from "../ui/table";

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
