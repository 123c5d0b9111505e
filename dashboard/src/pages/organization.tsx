// Making an organization, which is also where somebody without one begins.
import { useState } from "preact/hooks";
import { post } from "../core/api";
import { navigate } from "../core/router";
import { loadOrganizations, switchTo } from "../core/session";
import type { Organization } from "../core/types";
import { Button, ErrorNote, Field, PageHead, useAction } from "../ui/parts";
import { useTitle } from "../ui/title";
import { OwnInvitations } from "./owninvitations";

export function NoOrganization() {
  useTitle("New organization");
  return (
    <div class="narrow">
      <PageHead title="You belong to no organization" sub="An organization owns projects and has members. Make one, or accept an invitation to one." />
      <OwnInvitations />
      <div class="card">
        <OrganizationForm />
      </div>
    </div>
  );
}

export function OrganizationForm({ done }: { done?: () => void }) {
  const [name, setName] = useState("");
  const action = useAction(async () => {
    const made = await post<Organization>("/orgs", { name });
    await loadOrganizations();
    switchTo(made.id);
    done?.();
    navigate("/");
  });
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void action.run();
      }}
    >
      <ErrorNote error={action.error} />
      <Field label="Name" required maxLength={100} autofocus problem={action.error?.field("name")} value={name} onInput={setName} />
      <div class="form-actions">
        {done && <Button onClick={done}>Cancel</Button>}
        <Button type="submit" kind="primary" busy={action.busy}>
          Make the organization
        </Button>
      </div>
    </form>
  );
}
