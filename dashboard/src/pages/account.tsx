// Oneself: organizations, name, password, sessions, and what was done.
import { navigate, place } from "../core/router";
import { organizations, switchTo, user } from "../core/session";
import { Dialog } from "../ui/dialog";
import { Button, PageHead, Panel, Tag } from "../ui/parts";
import { actions, Table } from "../ui/table";
import { useTitle } from "../ui/title";
import { Activity, useActivity } from "./activity";
import { OrganizationForm } from "./organization";
import { OwnInvitations } from "./owninvitations";
import { Name, Password } from "./person";
import { Sessions } from "./sessions";

export function Account() {
  useTitle("Account");
  const creating = place.value.query.get("new") === "organization";
  const close = () => navigate("/account", { replace: true });
  const activity = useActivity();
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
