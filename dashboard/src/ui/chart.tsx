// How long deployments took, the newest on the right.
import { between, duration } from "../core/format";
import { href } from "../core/router";
import type { Deployment } from "../core/types";
import type { Tone } from "./parts";
import { deploymentState } from "./state";

const most = 40;

// Seconds between two lines of the scale.
const steps = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600];

export function History({ deployments }: { deployments: Deployment[] }) {
  const shown = deployments.slice(0, most).reverse();
  const times = shown.map((d) => Math.max(0, between(d.createdAt, d.finishedAt)));
  // One that waited long, parked or queued, must not flatten the rest.
  const sorted = [...times].sort((a, b) => a - b);
  const typical = sorted[Math.floor(sorted.length * 0.9)] ?? 0;
  const top = Math.max(1000, typical * 1.1);
  const median = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const states = new Map<string, Tone>(shown.map((d) => deploymentState(d)).map((s) => [s.text, s.tone]));
  return (
    <figure class="history">
      <div class="plot">
        {linesBelow(top).map((ms) => (
          <span key={ms} class="level" style={{ bottom: `${(ms / top) * 100}%` }} aria-hidden="true">
            <span>{ms < 1000 ? `${ms} ms` : ms < 60_000 ? `${ms / 1000} s` : `${ms / 60_000} min`}</span>
          </span>
        ))}
        <ol class="bars" aria-label={`Durations of the last ${shown.length} deployments, the newest last`}>
          {shown.map((d, i) => {
            const state = deploymentState(d);
            const label = `#${d.sequence}: ${state.text}, ${duration(times[i]!)}`;
            return (
              <li key={d.id}>
                <a href={href("/deployments/" + d.id)} aria-label={label} title={label}>
                  <span class={`bar ${state.tone}${times[i]! > top ? " over" : ""}`} style={{ height: `${Math.min(1, times[i]! / top) * 100}%` }} />
                </a>
              </li>
            );
          })}
        </ol>
      </div>
      <figcaption>
        <span class="legend">
          {[...states].map(([text, tone]) => (
            <span key={text}>
              <span class={`swatch bar ${tone}`} aria-hidden="true" />
              {text}
            </span>
          ))}
        </span>
        <span class="number">
          Median {duration(median)} · slowest {duration(sorted[sorted.length - 1] ?? 0)}
        </span>
      </figcaption>
    </figure>
  );
}

// linesBelow are two or three round durations below the top.
function linesBelow(top: number): number[] {
  const step = 1000 * (steps.find((s) => top / (s * 1000) < 4) ?? Math.ceil(top / 4 / 3600_000) * 3600);
  return Array.from({ length: Math.floor(top / step) }, (_, i) => (i + 1) * step);
}
