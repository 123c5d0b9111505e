// Where one is signed in.
import { get, post } from "../core/api";
import { browserOf } from "../core/format";
import { useResource } from "../core/resource";
import { ask } from "../ui/notice";
import { Badge, Button, ErrorNote, Loading, Panel, Time, useAction } from "../ui/parts";
import { actions, Table } from "../ui/table";
import type { Changes } from "./activity";

interface Session {
  id: string;
  token: string;
  ipAddress: string;
  userAgent: string;
  createdAt: string;
  updatedAt: string;
}

export function Sessions({ changed }: Changes) {
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
