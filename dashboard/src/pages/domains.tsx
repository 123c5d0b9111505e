// Domains of one's own, and what to put into DNS for them.
import { useState } from "preact/hooks";
import { call, post } from "../core/api";
import { usePages } from "../core/resource";
import { may } from "../core/session";
import type { Domain, Project } from "../core/types";
import { ask, say } from "../ui/notice";
import { Badge, Button, Copy, Empty, ErrorNote, Field, Loading, Outside, Panel, Time, useAction } from "../ui/parts";
import { domainTone } from "../ui/state";
import { Table } from "../ui/table";

export function Domains({ project }: { project: Project }) {
  const path = `/projects/${project.id}/domains`;
  const domains = usePages<Domain>(path, (e) => e.type === "domain" && e.projectId === project.id);
  const [host, setHost] = useState("");
  const add = useAction(async () => {
    await post(path, { host: host.trim() });
    setHost("");
    domains.reload();
  });
  return (
    <div class="stack">
      {may("developer") && (
        <Panel title="Add a domain">
          <form
            class="inline-form"
            onSubmit={(event) => {
              event.preventDefault();
              void add.run();
            }}
          >
            <Field label="Host name" placeholder="shop.example.com" required maxLength={253} autocomplete="off" spellcheck={false} problem={add.error?.field("host")} value={host} onInput={setHost} />
            <Button type="submit" kind="primary" busy={add.busy}>
              Add it
            </Button>
          </form>
          {add.error && !add.error.field("host") && <ErrorNote error={add.error} />}
        </Panel>
      )}
      <ErrorNote error={domains.error} retry={domains.reload} />
      {!domains.data?.length && (domains.loading || domains.data) && (
        <Panel title="Domains" bare>
          {domains.data ? (
            <Empty title="No domains yet">
              <p>
                The project answers at <Outside to={project.url} /> in any case.
              </p>
            </Empty>
          ) : (
            <Loading />
          )}
        </Panel>
      )}
      {domains.data?.map((d) => (
        <DomainCard key={d.id} domain={d} path={`${path}/${encodeURIComponent(d.host)}`} reload={domains.reload} />
      ))}
    </div>
  );
}

function Copyable({ value, what }: { value: string; what: string }) {
  return (
    <span class="copyable">
      <code>{value}</code>
      <Copy value={value} what={what} />
    </span>
  );
}

const words: Record<Domain["status"], string> = {
  pending: "Waiting for DNS",
  verified: "Yours; not pointed here yet",
  active: "Active",
  failed: "Failed",
};

function DomainCard({ domain, path, reload }: { domain: Domain; path: string; reload: () => void }) {
  const check = useAction(async () => {
    await post(path + "/check");
    say("DNS is being looked at.");
    reload();
  });
  const remove = () =>
    ask({
      title: `Remove ${domain.host}?`,
      text: <p>It stops answering at once.</p>,
      action: "Remove it",
      danger: true,
      run: async () => {
        await call("DELETE", path);
        reload();
      },
    });
  return (
    <section class="panel" aria-label={domain.host} data-domain={domain.host}>
      <header>
        <h2>
          {domain.status === "active" ? <Outside to={"https://" + domain.host}>{domain.host}</Outside> : domain.host} <Badge tone={domainTone(domain)}>{words[domain.status]}</Badge>
        </h2>
        {may("developer") && (
          <div class="actions">
            {domain.status !== "active" && (
              <Button small onClick={() => void check.run()} busy={check.busy}>
                Look now
              </Button>
            )}
            <Button small kind="quiet" onClick={remove}>
              Remove
            </Button>
          </div>
        )}
      </header>
      <div class="body">
        <ErrorNote error={check.error} />
        {domain.reason && <p class="note warn">{domain.reason}</p>}
        {domain.status === "active" ? (
          <p class="muted">
            Active since <Time at={domain.activeAt} />. Leave these records in DNS:
          </p>
        ) : (
          <p>Put these records into the DNS of the domain. They are looked for again and again, less and less often.</p>
        )}
        <div class="scroll">
          <Table label={`DNS records of ${domain.host}`} columns={["Record", "Name", "Value"]}>
            {domain.dns.map((record) => (
              <tr key={record.type + record.name} class="dns">
                <td>
                  <code class="kind">{record.type}</code>
                  <p class="hint">{record.purpose}</p>
                </td>
                <td>
                  <Copyable value={record.name} what={`the name of the ${record.type} record`} />
                </td>
                <td>
                  <Copyable value={record.value} what={`the value of the ${record.type} record`} />
                </td>
              </tr>
            ))}
          </Table>
        </div>
      </div>
    </section>
  );
}
