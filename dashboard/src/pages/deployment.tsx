// One deployment, live: its six steps, its log, and what went wrong.
import { useCallback, useEffect, useState } from "preact/hooks";
import { type ApiError, get, post } from "../core/api";
import { between, duration, sentence } from "../core/format";
import { useResource } from "../core/resource";
import { href } from "../core/router";
import { may } from "../core/session";
import { follow } from "../core/sse";
import { type DeploymentDetail, type Diagnosis, type Project, type Status, type Step, stepNames, type StepName } from "../core/types";
import { type LogEntry, type LogSink, Log } from "../ui/log";
import { ask, say } from "../ui/notice";
import { Badge, Button, Copy, ErrorNote, Loading, Meter, Outside, PageHead, Panel, Time, useAction } from "../ui/parts";
import { deploymentState, stepTone } from "../ui/state";
import { useTitle } from "../ui/title";

export function DeploymentPage({ id }: { id: string }) {
  const path = "/deployments/" + encodeURIComponent(id);
  const loaded = useResource(path, (signal) => get<DeploymentDetail>(path, signal), (e) => e.type === "deployment" && e.id === id);
  const [live, setLive] = useState<Status | undefined>();
  const projectId = loaded.data?.projectId;
  const project = useResource(projectId && "/projects/" + projectId, (signal) => get<Project>("/projects/" + projectId, signal), (e) => e.type === "project" && e.id === projectId);
  useTitle(loaded.data ? `#${loaded.data.sequence} ${project.data?.name ?? ""}` : "Deployment");
  // A status of the stream is newer than what was loaded before it came.
  const d = loaded.data && live ? { ...loaded.data, ...live } : loaded.data;
  if (!d) return loaded.error ? <ErrorNote error={loaded.error} retry={loaded.reload} /> : <Loading />;
  const state = deploymentState(d, project.data?.liveReleaseId);
  const ended = d.outcome !== undefined && d.outcome !== "dead_letter";
  return (
    <>
      <PageHead
        back={<a href={href(`/projects/${d.projectId}`)}>← {project.data?.name ?? "Project"}</a>}
        title={
          <>
            Deployment #{d.sequence} <Badge tone={state.tone}>{state.text}</Badge>
          </>
        }
        sub={
          <>
            started <Time at={d.createdAt} /> · {ended ? "took" : "running for"} {duration(between(d.createdAt, d.finishedAt))}
            {d.retries ? ` · retried ${d.retries}×` : ""} · <code class="id">{d.id}</code>
          </>
        }
        actions={<Actions d={d} ended={ended} reload={loaded.reload} project={project.data} />}
      />
      <p class="unseen" role="status">
        {ended || d.outcome ? state.text : d.currentStep ? `${stepWords[d.currentStep]}, ${stepStates.in_progress}` : state.text}
      </p>
      <ErrorNote error={loaded.error} retry={loaded.reload} />
      {d.stale && <p class="note warn">No worker answers at the moment; this is the last that was recorded.</p>}
      {!ended && d.outcome !== "dead_letter" && <Meter label="Progress" part={d.progress / 100} />}
      <Steps steps={d.steps} />
      {d.outcome === "dead_letter" && (
        <div class="note warn" role="status">
          <div>
            <p>
              <strong>Parked.</strong> It failed for a reason that is not the project's, and waits to be retried at the step {d.currentStep}. What was done before is kept.
            </p>
            <p>{d.error}</p>
          </div>
        </div>
      )}
      {d.outcome !== "dead_letter" && (d.diagnosis || d.error) && <Failure d={d} />}
      <Panel title="Log" flush>
        <BuildLog id={id} onStatus={setLive} finished={ended} />
      </Panel>
    </>
  );
}

function Actions({ d, ended, reload, project }: { d: DeploymentDetail; ended: boolean; reload: () => void; project?: Project }) {
  const retry = useAction(async () => {
    await post(`/deployments/${d.id}/retry`, {});
    say("It resumes at the step that failed.");
    reload();
  });
  useEffect(() => {
    if (retry.error) say(retry.error.message, "bad");
  }, [retry.error]);
  const abandon = () =>
    ask({
      title: "Give the deployment up?",
      text: <p>It ends, and counts no longer against the quota. It cannot be retried after that.</p>,
      action: "Give it up",
      danger: true,
      run: async () => {
        await post(`/deployments/${d.id}/abandon`, {});
        reload();
      },
    });
  const cancel = () =>
    ask({
      title: "Cancel the deployment?",
      text: <p>What is live stays live.</p>,
      action: "Cancel the deployment",
      danger: true,
      run: async () => {
        await post(`/deployments/${d.id}/cancel`, {});
        reload();
      },
    });
  return (
    <>
      {d.outcome === "succeeded" && (d.url || project?.url) && (
        <Outside to={d.url ?? project?.url}>
          <span class="button primary">Open the site ↗</span>
        </Outside>
      )}
      {may("developer") && d.outcome === "dead_letter" && (
        <>
          <Button onClick={abandon}>Give up</Button>
          <Button kind="primary" onClick={() => void retry.run()} busy={retry.busy}>
            Retry
          </Button>
        </>
      )}
      {may("developer") && !ended && d.outcome !== "dead_letter" && <Button onClick={cancel}>Cancel</Button>}
    </>
  );
}

const stepWords: Record<StepName, string> = {
  validate: "Validate",
  sync: "Sync files",
  sandbox: "Sandbox",
  build: "Build",
  deploy: "Go live",
  cleanup: "Clean up",
};

const stepStates: Record<Step["status"], string> = { pending: "waiting", in_progress: "running", completed: "done", failed: "failed" };

function Steps({ steps }: { steps: Record<StepName, Step> }) {
  return (
    <ol class="steps" aria-label="Steps">
      {stepNames.map((name) => {
        const step = steps[name];
        const tone = stepTone(step);
        const took = step.skipped ? "skipped" : step.status === "pending" ? "" : duration(between(step.startedAt, step.status === "in_progress" ? undefined : step.timestamp));
        return (
          <li key={name} class={`step ${step.status === "pending" ? "pending" : tone}`} data-step={name} data-state={step.skipped ? "skipped" : step.status} title={step.reason ?? step.error}>
            <span class="sign" aria-hidden="true">
              {step.skipped ? "–" : { pending: "", in_progress: "", completed: "✓", failed: "✕" }[step.status]}
            </span>
            <span class="step-name">{stepWords[name]}</span>
            <span class="unseen">{step.skipped ? "skipped" : stepStates[step.status]}</span>
            <span class="took">{took}</span>
          </li>
        );
      })}
    </ol>
  );
}

const failed: Record<string, string> = {
  install: "Installing the dependencies failed",
  build: "The build failed",
  bundle: "Bundling the worker failed",
  collect: "The build's output cannot be taken",
};

// Failure says what went wrong so that it can be put right.
function Failure({ d }: { d: DeploymentDetail }) {
  const diagnosis = d.diagnosis;
  if (d.outcome === "canceled" || d.outcome === "abandoned" || d.outcome === "superseded")
    return d.error ? (
      <div class="note">
        <p>{d.error}</p>
      </div>
    ) : null;
  return (
    <section class="failure" aria-label="What went wrong" role="alert">
      <header>
        <h2>{diagnosis ? (failed[diagnosis.step] ?? "The build failed") : `It failed at the step ${d.currentStep ?? ""}`}</h2>
        {d.errorCode && <code>{d.errorCode}</code>}
      </header>
      {diagnosis?.advice && <p class="advice">{diagnosis.advice}</p>}
      {!(diagnosis?.advice && d.error?.includes(diagnosis.advice)) && <p>{d.error}</p>}
      {diagnosis && <Evidence diagnosis={diagnosis} />}
    </section>
  );
}

function Evidence({ diagnosis }: { diagnosis: Diagnosis }) {
  return (
    <>
      <dl class="facts">
        {diagnosis.command && (
          <div>
            <dt>Command</dt>
            <dd>
              <code>{diagnosis.command}</code>
            </dd>
          </div>
        )}
        {diagnosis.exitCode !== undefined && (
          <div>
            <dt>Exit code</dt>
            <dd>
              <code>{diagnosis.exitCode}</code>
            </dd>
          </div>
        )}
        {diagnosis.cause && (
          <div>
            <dt>Looks like</dt>
            <dd>{sentence(diagnosis.cause.replaceAll("-", " "))}</dd>
          </div>
        )}
      </dl>
      {diagnosis.tail && diagnosis.tail.length > 0 && (
        <div class="evidence">
          <div class="evidence-head">
            <span>The last of its output</span>
            <Copy value={diagnosis.tail.join("\n")} what="the output" />
          </div>
          <pre tabIndex={0}>{diagnosis.tail.join("\n").replace(/^\n+/, "")}</pre>
        </div>
      )}
    </>
  );
}

interface BuildLine {
  line: number;
  text: string;
}

function BuildLog({ id, onStatus, finished }: { id: string; onStatus: (status: Status) => void; finished: boolean }) {
  const [error, setError] = useState<ApiError | undefined>();
  const path = "/deployments/" + encodeURIComponent(id) + "/logs";
  const connect = useCallback(
    (sink: LogSink) =>
      follow(path + "/stream", {
        lastEvent: "end",
        onState: (_, failure) => setError(failure),
        onEvent: (event) => {
          if (event.name === "log") {
            const line = JSON.parse(event.data) as BuildLine;
            sink.add([entryOf(line)]);
          } else if (event.name === "status" || event.name === "end") {
            onStatus(JSON.parse(event.data) as Status);
          }
        },
      }),
    [path],
  );
  return (
    <>
      <ErrorNote error={error} />
      <Log label="Build log" connect={connect} empty={finished ? "Nothing was built, so there is no log." : "The log begins with the build."} />
    </>
  );
}

function entryOf(line: BuildLine): LogEntry {
  const tone = /^(?:\S*\s*)?(?:error|err!|✘|×)\b/i.test(line.text) ? "bad" : /^(?:\s*\S*\s*)?warn(?:ing)?\b/i.test(line.text) ? "warn" : line.text.startsWith("$ ") || line.text.startsWith("> ") ? "note" : undefined;
  return { number: line.line, text: line.text, tone };
}
