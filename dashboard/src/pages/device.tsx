// A program, such as `slipway login`, that wants to be signed in.
import { useState } from "preact/hooks";
import { call, get, post } from "../core/api";
import { exactly, now } from "../core/format";
import { navigate, place } from "../core/router";
import { useResource } from "../core/resource";
import { organizations } from "../core/session";
import type { Scope } from "../core/types";
import { useTitle } from "../ui/title";
import { Button, Choice, Empty, ErrorNote, Field, Loading, PageHead, Time, useAction } from "../ui/parts";

interface Request {
  userCode: string;
  clientName: string;
  address: string;
  scope: Scope;
  status: "pending" | "approved" | "denied";
  createdAt: string;
  expiresAt: string;
}

export function Device() {
  useTitle("Sign in a device");
  const code = place.value.query.get("code");
  return (
    <div class="narrow">
      <PageHead title="Sign in a device" />
      {code ? <Answer key={code} code={code} /> : <Ask />}
    </div>
  );
}

function Ask() {
  const [code, setCode] = useState("");
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault();
        navigate("/device?code=" + encodeURIComponent(code.trim()));
      }}
    >
      <Field label="The code that the device shows" placeholder="BCDF-GHJK" autocomplete="off" required autofocus value={code} onInput={setCode} />
      <div class="form-actions">
        <Button type="submit" kind="primary">
          Go on
        </Button>
      </div>
    </form>
  );
}

const scopes: { value: Scope; text: string }[] = [
  { value: "read", text: "Read: look at everything, change nothing" },
  { value: "deploy", text: "Deploy: deploy, roll back, make projects" },
  { value: "admin", text: "Admin: all that your role may" },
];

function Answer({ code }: { code: string }) {
  const path = "/device/" + encodeURIComponent(code);
  const request = useResource(path, (signal) => get<Request>(path, signal));
  const [organization, setOrganization] = useState(organizations.value[0]?.id ?? "");
  const [scope, setScope] = useState<Scope | undefined>();
  const [answered, setAnswered] = useState<"approved" | "denied" | undefined>();
  const approve = useAction(async (wanted: Scope) => {
    await post(path + "/approve", { orgId: organization, scope: wanted });
    setAnswered("approved");
  });
  const deny = useAction(async () => {
    await call("POST", path + "/deny");
    setAnswered("denied");
  });
  const device = request.data;
  if (answered === "approved")
    return (
      <Empty title="The device is signed in">
        <p>You can close this page and go back to it.</p>
      </Empty>
    );
  if (answered === "denied" || device?.status === "denied") return <Empty title="The device was refused" />;
  if (device?.status === "approved") return <Empty title="The device is signed in already" />;
  if (!device)
    return request.error ? (
      <>
        <ErrorNote error={request.error} />
        <Ask />
      </>
    ) : (
      <Loading />
    );
  if (Date.parse(device.expiresAt) < now.value) return <Empty title="The code is too old; start again on the device" />;
  // Whoever may only look can let a device do no more.
  const looksOnly = organizations.value.find((o) => o.id === organization)?.role === "viewer";
  const wanted = looksOnly ? "read" : (scope ?? device.scope);
  return (
    <div class="card">
      <p class="device-code">{device.userCode}</p>
      <p>
        <strong>Compare it with the code on your device.</strong> Go on only if they are the same and you have just asked for it yourself.
      </p>
      <dl class="facts">
        <div>
          <dt>It calls itself</dt>
          <dd>{device.clientName || "nothing"}</dd>
        </div>
        <div>
          <dt>It asks from</dt>
          <dd>{device.address || "unknown"}</dd>
        </div>
        <div>
          <dt>Asked</dt>
          <dd title={exactly(device.createdAt)}>
            <Time at={device.createdAt} />
          </dd>
        </div>
      </dl>
      <Choice label="Organization" value={organization} onChange={setOrganization} options={organizations.value.map((o) => ({ value: o.id, text: `${o.name} (${o.role})` }))} />
      <Choice label="It may" value={wanted} onChange={(value) => setScope(value as Scope)} options={looksOnly ? scopes.slice(0, 1) : scopes} />
      <ErrorNote error={approve.error ?? deny.error} />
      <div class="form-actions">
        <Button onClick={() => void deny.run()} busy={deny.busy}>
          Refuse
        </Button>
        <Button kind="primary" onClick={() => void approve.run(wanted)} busy={approve.busy}>
          Sign the device in
        </Button>
      </div>
    </div>
  );
}
