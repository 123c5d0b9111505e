// A release that takes over step by step.
import { useState } from "preact/hooks";
import { post } from "../core/api";
import { may } from "../core/session";
import type { Project, Release, Rollout } from "../core/types";
import { Dialog } from "../ui/dialog";
import { ask, say } from "../ui/notice";
import { Badge, Button, ErrorNote, Field, Time, useAction } from "../ui/parts";

export function RolloutCard({ rollout, releases }: { rollout: Rollout; releases: Release[] }) {
  const name = (id: string) => {
    const known = releases.find((r) => r.id === id);
    return known ? `#${known.sequence}` : "another release";
  };
  const cancel = () =>
    ask({
      title: "Cancel the rollout?",
      text: <p>All visitors get release {name(rollout.baseReleaseId)} back.</p>,
      action: "Cancel the rollout",
      danger: true,
      run: async () => {
        await post(`/projects/${rollout.projectId}/rollouts/${rollout.id}/cancel`);
        say("The rollout is being canceled.");
      },
    });
  return (
    <section class="rollout" aria-label="Rollout under way">
      <header>
        <h2>
          Rolling out {name(rollout.releaseId)} <Badge tone="run">{rollout.percent} % of visitors</Badge>
        </h2>
        {may("developer") && (
          <Button small onClick={cancel}>
            Cancel
          </Button>
        )}
      </header>
      <ol class="rollout-steps" aria-label="Steps of the rollout">
        {rollout.steps.map((percent) => (
          <li key={percent} class={percent < rollout.percent ? "past" : percent === rollout.percent ? "now" : ""} aria-current={percent === rollout.percent ? "step" : undefined}>
            {percent} %
          </li>
        ))}
      </ol>
      <p class="muted">
        From {name(rollout.baseReleaseId)} · {rollout.every.replace(/h0m0s$/, "h").replace(/m0s$/, "m")} a step · goes back by itself above {Math.round(rollout.maxErrorRate * 1000) / 10} % errors · began <Time at={rollout.createdAt} />
      </p>
    </section>
  );
}

export function NewRollout({ project, release, close }: { project: Project; release: Release; close: () => void }) {
  const [steps, setSteps] = useState("1, 10, 50, 100");
  const [every, setEvery] = useState("5m");
  const [errors, setErrors] = useState("5");
  const action = useAction(async () => {
    await post(`/projects/${project.id}/rollouts`, {
      releaseId: release.id,
      steps: steps
        .split(/[\s,]+/)
        .filter(Boolean)
        .map(Number),
      every,
      maxErrorRate: Number(errors) / 100,
    });
    say("The rollout begins.");
    close();
  });
  return (
    <Dialog title={`Roll out release #${release.sequence}`} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run();
        }}
      >
        <p class="muted">It gets a rising share of the visitors, each of whom stays with the release they got.</p>
        <ErrorNote error={action.error} />
        <Field label="Steps, in percent of the visitors" value={steps} onInput={setSteps} required pattern="[0-9, ]+" hint="Rising, the last one 100" autofocus problem={action.error?.field("steps")} />
        <Field label="Each step lasts" value={every} onInput={setEvery} required hint="10s to 24h" problem={action.error?.field("every")} />
        <Field label="Go back above this percentage of errors" type="number" min="0" max="100" step="0.1" value={errors} onInput={setErrors} required />
        <div class="form-actions">
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" kind="primary" busy={action.busy}>
            Begin
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
