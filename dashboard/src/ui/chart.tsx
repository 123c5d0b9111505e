// How long deployments took, the newest on the right.
import { between, duration } from "../core/format";
import { href } from "../core/router";
import type { Deployment } from "../core/types";
import { deploymentState } from "./state";

const height = 72;
const bar = 14;
const gap = 4;
const most = 40;
// With fewer there is room left; bars do not grow into blocks.
const least = 24;

export function History({ deployments }: { deployments: Deployment[] }) {
  const shown = deployments.slice(0, most).reverse();
  const times = shown.map((d) => Math.max(0, between(d.createdAt, d.finishedAt)));
  // One that waited long, parked or queued, must not flatten the rest.
  const sorted = [...times].sort((a, b) => a - b);
  const typical = sorted[Math.floor(sorted.length * 0.9)] ?? 0;
  const scale = Math.max(1000, typical * 1.15);
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const width = Math.max(least, shown.length) * (bar + gap);
  return (
    <figure class="history">
      <svg viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="xMinYMax meet" role="group" aria-label={`Durations of the last ${shown.length} deployments`}>
        <line x1="0" x2={width} y1={height - 0.5} y2={height - 0.5} class="axis" />
        {shown.map((d, i) => {
          const size = Math.max(3, Math.min(1, times[i]! / scale) * (height - 4));
          const state = deploymentState(d);
          const label = `#${d.sequence}: ${state.text}, ${duration(times[i]!)}`;
          return (
            <a key={d.id} href={href("/deployments/" + d.id)} aria-label={label}>
              <title>{label}</title>
              <rect x={i * (bar + gap)} y="0" width={bar + gap} height={height} class="reach" />
              <rect x={i * (bar + gap)} y={height - size} width={bar} height={size} rx="2" class={`bar ${state.tone}`} />
            </a>
          );
        })}
      </svg>
      <figcaption class="muted">
        Median {duration(median)} · slowest {duration(sorted[sorted.length - 1] ?? 0)}
      </figcaption>
    </figure>
  );
}
