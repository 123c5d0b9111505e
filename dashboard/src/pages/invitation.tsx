// Joining an organization by the link in a mail.
import { useEffect, useState } from "preact/hooks";
import { post } from "../core/api";
import { forgetQuery, href, navigate, place } from "../core/router";
import { loadOrganizations, switchTo, user } from "../core/session";
import type { Organization } from "../core/types";
import { say } from "../ui/notice";
import { Button, Empty, ErrorNote, PageHead, useAction } from "../ui/parts";
import { useTitle } from "../ui/title";

export function Invitation() {
  useTitle("Invitation");
  const [token] = useState(() => place.value.query.get("token") ?? "");
  useEffect(forgetQuery, []);
  const accept = useAction(async () => {
    const organization = await post<Organization>("/invitations/accept", { token });
    await loadOrganizations();
    switchTo(organization.id);
    say(`You belong to ${organization.name} now.`);
    navigate("/", { replace: true });
  });
  return (
    <div class="narrow">
      <PageHead title="Invitation" />
      {token === "" ? (
        <Empty title="The link is not complete">
          <p>
            Open it from the mail again. Invitations for a confirmed address are under <a href={href("/account")}>Account</a> as well.
          </p>
        </Empty>
      ) : (
        <div class="card">
          <p>
            You are signed in as <strong>{user.value?.email}</strong>. The invitation counts for the address that it was sent to.
          </p>
          <ErrorNote error={accept.error} />
          <div class="form-actions">
            <Button kind="primary" onClick={() => void accept.run()} busy={accept.busy}>
              Accept the invitation
            </Button>
          </div>
        </div>
      )}
    </div>
  );
}
