// Webhooks and what has been delivered to them.
import { useState } from "preact/hooks";
import { call, get, post } from "../core/api";
import { sentence } from "../core/format";
import { usePages, useResource } from "../core/resource";
import { href, navigate } from "../core/router";
import { may } from "../core/session";
import { Dialog } from "../ui/dialog";
import { ask, say } from "../ui/notice";
import { Badge, Button, Choice, Empty, ErrorNote, Field, Loading, PageHead, Panel, Time, type Tone, useAction } from "../ui/parts";
import { actions, Listing, Table } from "../ui/table";
import { useTitle } from "../ui/title";
import { Secret } from "./tokens";

interface Webhook {
  id: string;
  projectId?: string;
  url: string;
  format: "standard" | "slack" | "github";
  events: string[];
  enabled: boolean;
  disabledReason?: string;
  failingSince?: string;
  createdAt: string;
}

interface Delivery {
  id: string;
  event: string;
  status: "pending" | "succeeded" | "failed";
  attempts: number;
  lastStatus?: number;
  error?: string;
  nextAttemptAt?: string;
  createdAt: string;
}

function state(w: Webhook): { tone: Tone; text: string } {
  if (!w.enabled) return { tone: w.disabledReason ? "bad" : "idle", text: "Off" };
  if (w.failingSince) return { tone: "warn", text: "Failing" };
  return { tone: "ok", text: "On" };
}

const eventsOf = (w: Webhook) => (w.events.includes("*") ? "all events" : w.events.join(", "));

export function Webhooks() {
  useTitle("Webhooks");
  const list = usePages<Webhook>("/webhooks", (e) => e.type === "webhook");
  const [making, setMaking] = useState(false);
  const [secret, setSecret] = useState<string | undefined>();
  return (
    <>
      <PageHead
        title="Webhooks"
        sub="Your own programs are told what happens, as it happens."
        actions={
          may("admin") && (
            <Button kind="primary" onClick={() => setMaking(true)}>
              New webhook
            </Button>
          )
        }
      />
      <Panel title="Webhooks" bare>
        <Listing
          list={list}
          empty={
            <Empty title="No webhooks yet">
              <p>Signed as Standard Webhooks say, as a message to a chat, or as a commit's status.</p>
            </Empty>
          }
        >
          {(items) => (
            <Table label="Webhooks" columns={["Address", "State", { text: "Hears of", wide: true }, { text: "Made", right: true, wide: true }]}>
              {items.map((w) => {
                const s = state(w);
                return (
                  <tr key={w.id} class="row">
                    <td class="clip" title={w.url}>
                      <a class="cover" data-row href={href("/webhooks/" + w.id)}>
                        {w.url}
                      </a>
                    </td>
                    <td>
                      <Badge tone={s.tone}>{s.text}</Badge>
                    </td>
                    <td class="wide-only muted clip">{eventsOf(w)}</td>
                    <td class="right nowrap wide-only">
                      <Time at={w.createdAt} />
                    </td>
                  </tr>
                );
              })}
            </Table>
          )}
        </Listing>
      </Panel>
      {making && (
        <NewWebhook
          close={() => setMaking(false)}
          made={(made) => {
            setSecret(made.secret);
            list.reload();
          }}
        />
      )}
      {secret && <Secret title="The webhook's secret" secret={secret} what="the secret" close={() => setSecret(undefined)} />}
    </>
  );
}

const groups = ["deployment.*", "domain.*", "rollout.*"];

function NewWebhook({ close, made }: { close: () => void; made: (w: { secret?: string }) => void }) {
  const [url, setURL] = useState("");
  const [format, setFormat] = useState("standard");
  const [token, setToken] = useState("");
  const [events, setEvents] = useState<string[]>(groups);
  const action = useAction(async () => {
    const w = await post<{ secret?: string }>("/webhooks", { url: url.trim(), format, events: events.length === groups.length ? ["*"] : events, ...(format === "github" && token ? { token } : {}) });
    close();
    made(w);
  });
  return (
    <Dialog title="New webhook" close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run();
        }}
      >
        <ErrorNote error={action.error} />
        <Choice
          label="Format"
          value={format}
          onChange={setFormat}
          options={[
            { value: "standard", text: "Signed JSON (Standard Webhooks)" },
            { value: "slack", text: "Message to a chat (Slack's format)" },
            { value: "github", text: "Status of a commit (GitHub's format)" },
          ]}
        />
        <Field
          label="Address"
          type="url"
          required
          maxLength={2048}
          autofocus
          placeholder={format === "github" ? "https://api.github.com/repos/o/r/statuses/{sha}" : "https://example.com/hooks"}
          problem={action.error?.field("url")}
          value={url}
          onInput={setURL}
        />
        {format === "github" && <Field label="Token that may write statuses" type="password" autocomplete="off" value={token} onInput={setToken} />}
        <fieldset>
          <legend>Events</legend>
          {groups.map((group) => (
            <label class="check" key={group}>
              <input type="checkbox" checked={events.includes(group)} onChange={(event) => setEvents(event.currentTarget.checked ? [...events, group] : events.filter((e) => e !== group))} />
              <code>{group}</code>
            </label>
          ))}
        </fieldset>
        <div class="form-actions">
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" kind="primary" busy={action.busy} disabled={events.length === 0}>
            Make the webhook
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

const deliveryTone: Record<Delivery["status"], Tone> = { pending: "run", succeeded: "ok", failed: "bad" };

export function WebhookPage({ id }: { id: string }) {
  useTitle("Webhook");
  const path = "/webhooks/" + encodeURIComponent(id);
  const hook = useResource(path, (signal) => get<Webhook>(path, signal), (e) => e.type === "webhook" && e.id === id);
  const deliveries = usePages<Delivery>(path + "/deliveries", (e) => e.type === "delivery");
  const [secret, setSecret] = useState<string | undefined>();
  const test = useAction(async () => {
    await post(path + "/test");
    say("A ping is on its way.");
    deliveries.reload();
  });
  const toggle = useAction(async () => {
    await call("PATCH", path, { body: { enabled: !hook.data?.enabled } });
    hook.reload();
  });
  const again = useAction(async (delivery: string) => {
    await post(`${path}/deliveries/${delivery}/redeliver`);
    deliveries.reload();
  });
  const rotate = () =>
    ask({
      title: "Replace the secret?",
      text: <p>For a day messages are signed with both, so that receivers can change over.</p>,
      action: "Replace it",
      run: async () => setSecret((await post<{ secret: string }>(path + "/rotate-secret")).secret),
    });
  const remove = () =>
    ask({
      title: "Remove the webhook?",
      text: <p>What is on its way is not sent any more, and its deliveries are forgotten.</p>,
      action: "Remove it",
      danger: true,
      run: async () => {
        await call("DELETE", path);
        navigate("/webhooks", { replace: true });
      },
    });
  const w = hook.data;
  if (!w) return hook.error ? <ErrorNote error={hook.error} retry={hook.reload} /> : <Loading />;
  const s = state(w);
  return (
    <>
      <PageHead
        back={<a href={href("/webhooks")}>← Webhooks</a>}
        title={
          <>
            <span class="clip">{w.url}</span> <Badge tone={s.tone}>{s.text}</Badge>
          </>
        }
        sub={`${eventsOf(w)} · ${w.format}`}
        actions={
          may("admin") && (
            <>
              {w.format !== "github" && w.enabled && (
                <Button onClick={() => void test.run()} busy={test.busy}>
                  Send a ping
                </Button>
              )}
              <Button onClick={() => void toggle.run()} busy={toggle.busy}>
                {w.enabled ? "Turn off" : "Turn on"}
              </Button>
              {w.format === "standard" && <Button onClick={rotate}>Replace the secret</Button>}
              <Button kind="danger" onClick={remove}>
                Remove
              </Button>
            </>
          )
        }
      />
      <ErrorNote error={test.error ?? toggle.error ?? again.error} />
      {w.disabledReason && !w.enabled && <p class="note bad">{w.disabledReason}</p>}
      {w.failingSince && w.enabled && (
        <p class="note warn">
          <span>
            Nothing has arrived since <Time at={w.failingSince} />. Once a delivery has failed for good and none has arrived for five days, it is turned off.
          </span>
        </p>
      )}
      <Panel title="Deliveries" flush>
        <Listing list={deliveries} empty={<Empty title="Nothing has happened yet" />}>
          {(items) => (
            <Table label="Deliveries" columns={["Event", "State", { text: "Last answer", wide: true }, { text: "When", right: true }, actions]}>
              {items.map((d) => (
                <tr key={d.id}>
                  <td>
                    <code>{d.event}</code>
                  </td>
                  <td>
                    <Badge tone={deliveryTone[d.status]}>
                      {sentence(d.status)}
                      {d.attempts > 1 ? `, ${d.attempts} attempts` : ""}
                    </Badge>
                  </td>
                  <td class="wide-only muted clip" title={d.error}>
                    {d.lastStatus ? `${d.lastStatus} ` : ""}
                    {d.error}
                  </td>
                  <td class="right nowrap">
                    <Time at={d.createdAt} />
                  </td>
                  <td class="right">
                    {may("admin") && w.enabled && (
                      <Button small kind="quiet" onClick={() => void again.run(d.id)} label={`Send ${d.event} again`}>
                        Send again
                      </Button>
                    )}
                  </td>
                </tr>
              ))}
            </Table>
          )}
        </Listing>
      </Panel>
      {secret && <Secret title="The new secret" secret={secret} what="the secret" close={() => setSecret(undefined)} />}
    </>
  );
}
