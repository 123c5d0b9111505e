// What the organization has used of what it may.
import { get } from "../core/api";
import { bytes, count, onDay } from "../core/format";
import { useResource } from "../core/resource";
import { organization } from "../core/session";
import { ErrorNote, Loading, Meter, PageHead } from "../ui/parts";
import { useTitle } from "../ui/title";

interface Resource {
  resource: string;
  limit: number;
  used: number;
  resetsAt?: string;
}

interface Answer {
  periodStart: string;
  periodEnd: string;
  items: Resource[];
}

const words: Record<string, { text: string; show: (n: number) => string }> = {
  deployments: { text: "Deployments", show: count },
  buildMinutes: { text: "Build minutes", show: count },
  projects: { text: "Projects", show: count },
  domains: { text: "Domains of your own", show: count },
  storageBytes: { text: "Storage", show: bytes },
};

const changes = new Set(["organization", "deployment", "project", "domain", "release"]);

export function Usage() {
  useTitle("Usage");
  const path = `/orgs/${organization.value?.id}/usage`;
  const usage = useResource(path, (signal) => get<Answer>(path, signal), (e) => changes.has(e.type));
  const u = usage.data;
  return (
    <>
      <PageHead title="Usage" sub={u ? `${onDay(u.periodStart)} to ${onDay(u.periodEnd)}` : organization.value?.name} />
      <ErrorNote error={usage.error} retry={usage.reload} />
      {!u && usage.loading && <Loading />}
      {u && (
        <ul class="cards usage">
          {u.items.map((r) => {
            const { text, show } = words[r.resource] ?? { text: r.resource, show: count };
            const part = r.limit > 0 ? r.used / r.limit : r.used > 0 ? 1 : 0;
            return (
              <li key={r.resource} class="usage-card" data-resource={r.resource}>
                <h2>{text}</h2>
                <p class="figure">
                  <strong>{show(r.used)}</strong> <span class="muted">of {show(r.limit)}</span>
                </p>
                <Meter label={`${text} used`} part={part} tone={part >= 1 ? "bad" : part >= 0.8 ? "warn" : "run"} />
                <p class="muted">{part >= 1 ? (r.resetsAt ? `Used up until ${onDay(r.resetsAt)}` : "Used up") : r.resetsAt ? `Starts anew on ${onDay(r.resetsAt)}` : "At this moment"}</p>
              </li>
            );
          })}
        </ul>
      )}
    </>
  );
}
