// Who did what, from where.
import { request } from "../core/api";
import { usePages, useResource } from "../core/resource";
import { get } from "../core/api";
import { organization } from "../core/session";
import type { Page } from "../core/types";
import { Badge, Button, Empty, ErrorNote, Loading, More, PageHead, Panel, Time, useAction } from "../ui/parts";
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
  const items = list.data;
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
      <ErrorNote error={list.error ?? download.error} retry={list.error && list.reload} />
      {!items && list.loading && <Loading />}
      {items?.length === 0 && <Empty title="Nothing yet" />}
      {items && items.length > 0 && (
        <Panel title="Entries" flush>
          <table class="list">
            <thead>
              <tr>
                <th scope="col">What</th>
                <th scope="col">Who</th>
                <th scope="col" class="wide-only">
                  To what
                </th>
                <th scope="col" class="wide-only">
                  From
                </th>
                <th scope="col" class="right">
                  When
                </th>
              </tr>
            </thead>
            <tbody>
              {items.map((e) => (
                <tr key={e.id}>
                  <td class="nowrap">
                    <code>{e.action}</code> {e.outcome === "refused" && <Badge tone="bad">refused</Badge>}
                  </td>
                  <td>
                    {names.get(e.userId) ?? <code class="id">{e.userId}</code>}
                    {e.tokenId && <span class="muted"> by token</span>}
                  </td>
                  <td class="wide-only clip">
                    {Object.entries(e.targets).map(([name, value]) => (
                      <span key={name} class="target">
                        <span class="muted">{name}</span> <code>{value}</code>
                      </span>
                    ))}
                  </td>
                  <td class="wide-only muted nowrap" title={e.userAgent}>
                    {e.address}
                  </td>
                  <td class="right nowrap">
                    <Time at={e.createdAt} />
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
          <More more={list.more} loading={list.loading} />
        </Panel>
      )}
    </>
  );
}
