// Where a folder is dropped to be deployed.
import { useEffect, useRef, useState } from "preact/hooks";
import { count } from "../core/format";
import { navigate } from "../core/router";
import { may, user } from "../core/session";
import type { Project } from "../core/types";
import { Button, ErrorNote, Meter, useAction } from "../ui/parts";
import { fromDrop, fromInput, type Picked } from "./folder";
import { again, type Progress, send } from "./send";

export function Drop({ project, first }: { project: Project; first: boolean }) {
  const [over, setOver] = useState(false);
  const [progress, setProgress] = useState<Progress | undefined>();
  const [preview, setPreview] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const stop = useRef<AbortController | undefined>(undefined);
  const deploy = useAction(async (reading: Promise<Picked[]>) => {
    stop.current = new AbortController();
    try {
      const picked = await reading;
      const id = await send(project, user.value?.id ?? "", picked, setProgress, { preview, signal: stop.current.signal });
      navigate("/deployments/" + id);
    } catch (thrown) {
      if (!stop.current.signal.aborted) throw thrown;
    } finally {
      setProgress(undefined);
    }
  });
  const redeploy = useAction(async () => navigate("/deployments/" + (await again(project, user.value?.id ?? ""))));
  useEffect(() => () => stop.current?.abort(), []);
  // A folder dropped beside the zone must not make the browser leave the page.
  useEffect(() => {
    const refuse = (event: DragEvent) => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    };
    addEventListener("dragover", refuse);
    addEventListener("drop", refuse);
    return () => {
      removeEventListener("dragover", refuse);
      removeEventListener("drop", refuse);
    };
  }, []);
  if (!may("developer")) return null;
  return (
    <div
      class={`drop${over ? " over" : ""}${first ? " first" : ""}`}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={(event) => {
        if (!event.currentTarget.contains(event.relatedTarget as Node | null)) setOver(false);
      }}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        if (event.dataTransfer && !deploy.busy) void deploy.run(fromDrop(event.dataTransfer));
      }}
    >
      <ErrorNote error={deploy.error ?? redeploy.error} />
      {deploy.busy ? (
        <Sending progress={progress} cancel={() => stop.current?.abort()} />
      ) : (
        <>
          <div class="words">
            <p class="call">{first ? "Drop the project's folder here to put it live" : "Drop a folder here to deploy it"}</p>
            <p class="muted">
              <code>.git</code>, <code>node_modules</code> and what <code>.gitignore</code> names stay behind.{first && " Only files that are new are uploaded."}
            </p>
          </div>
          <div class="actions">
            <Button kind={first ? "primary" : "plain"} onClick={() => input.current?.click()}>
              Choose a folder
            </Button>
            {!first && (
              <Button onClick={() => void redeploy.run()} busy={redeploy.busy} title="Build the files of the last deployment once more">
                Deploy the last files again
              </Button>
            )}
            {!first && (
              <label class="check">
                <input type="checkbox" checked={preview} onChange={(event) => setPreview(event.currentTarget.checked)} /> As a preview
              </label>
            )}
          </div>
          <input
            ref={input}
            class="unseen"
            type="file"
            tabIndex={-1}
            aria-label="Folder to deploy"
            multiple
            {...{ webkitdirectory: true }}
            onChange={(event) => {
              const files = event.currentTarget.files;
              if (files && files.length > 0) void deploy.run(fromInput(files));
              event.currentTarget.value = "";
            }}
          />
        </>
      )}
    </div>
  );
}

function Sending({ progress, cancel }: { progress: Progress | undefined; cancel: () => void }) {
  const p = progress ?? { phase: "reading" as const, done: 0, total: 0 };
  const words = { reading: "Reading files", uploading: "Uploading new files", starting: "Starting the deployment" }[p.phase];
  return (
    <div class="sending">
      <p role="status">
        {words} {p.total > 0 && `${count(p.done)} of ${count(p.total)}`}
      </p>
      <Meter label={words} part={p.phase === "starting" ? 1 : p.total > 0 ? p.done / p.total : 0} />
      <Button small onClick={cancel}>
        Cancel
      </Button>
    </div>
  );
}
