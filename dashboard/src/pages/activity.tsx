// What was done about the account.
import { browserOf } from "../core/format";
import { usePages } from "../core/resource";
import { Badge, Empty, Panel, Time } from "../ui/parts";
import { Listing, Table } from "../ui/table";

// Changes says that something was done that the log of the account has.
export interface Changes {
  changed: () => void;
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

// useActivity reads the log of the account. No event tells of its entries: they are
// of no organization.
export function useActivity() {
  return usePages<Deed>("/me/audit", () => false);
}

export function Activity({ list }: { list: ReturnType<typeof useActivity> }) {
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
