// Who did what, from where.
import { get, request } from "../core/api";
import { usePages, useResource } from "../core/resource";
import { organization } from "../core/session";
import type { Page } from "../core/types";
import { Badge, Button, Empty, ErrorNote, PageHead, Panel, Time, useAction } from "../ui/parts";
import { Listing, Table } from "../ui/table";
import { useTitle } from "../ui/title";

interface Entry {
  id: string;
  userId: string;
  tokenId?: string;
  action: string;
  outcome: "succeeded" | "refused";
  code?: string;
  targets: Record<string, string>;
  address?: string;
  userAgent?: string;
  createdAt: string;
}

export function Audit() {
  useTitle("Audit log");
  const base = `/orgs/${organization.value?.id}`;
  const list = usePages<Entry>(base + "/audit", (e) => e.type === "audit");
  const members = useResource(base + "/members?limit=100", (signal) => get<Page<{ userId: string; name: string; email: string }>>(base + "/members?limit=100", signal), (e) => e.type === "member");
  const names = new Map(members.data?.items.map((m) => [m.userId, m.name || m.email]));
  const download = useAction(async () => {
    const answer = await request("GET", base + "/audit/export", { headers: { Accept: "application/x-ndjson, application/json" } });
    const url = URL.createObjectURL(await answer.blob());
    const link = document.createElement("a");
    link.href = url;
    link.download = "audit.jsonl";
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  });
  return (
    <>
      <PageHead
        title="Audit log"
        sub="Who did what, from where. Nothing in it can be changed."
        actions={
          <Button onClick={() => void download.run()} busy={download.busy}>
            Download as JSON lines
          </Button>
        }
      />
      <ErrorNote error={download.error} />
      <Panel title="Entries" bare>
        <Listing list={list} empty={<Empty title="Nothing yet" />}>
          {(items) => (
            <Table label="Audit log" columns={["What", "Who", { text: "To what", wide: true }, { text: "From", wide: true }, { text: "When", right: true }]}>
              {items.map((e) => (
                <tr key={e.id}>
                  <td>
                    <code>{e.action}</code> {e.outcome === "refused" && <Badge tone="bad">Refused</Badge>}
                  </td>
                  <td>
                    {names.get(e.userId) ?? <code class="id">{e.userId}</code>}
                    {e.tokenId && <span class="muted"> · by token</span>}
                  </td>
                  <td class="wide-only">
                    <Targets of={e.targets} />
                  </td>
                  <td class="wide-only muted nowrap number" title={e.userAgent}>
                    {e.address}
                  </td>
                  <td class="right nowrap">
                    <Time at={e.createdAt} />
                  </td>
                </tr>
              ))}
            </Table>
          )}
        </Listing>
      </Panel>
    </>
  );
}

// Targets are ids mostly, which begin with what they are of; that of the organization is
// in every entry and says nothing.
function Targets({ of }: { of: Record<string, string> }) {
  return (
    <>
      {Object.entries(of)
        .filter(([, value]) => value !== organization.value?.id)
        .map(([name, value]) => (
          <code key={name} class="target" title={`${name}: ${value}`}>
            {value.replace(/^([a-z]+_[a-z2-7]{8})[a-z2-7]{18}$/, "$1…")}
          </code>
        ))}
    </>
  );
}
