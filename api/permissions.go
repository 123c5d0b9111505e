package api

import "github.com/slipwayhq/slipway/models"

// access says who may call an operation.
type access struct {
	// public operations need nobody.
	public bool
	// account operations are a signed-in person's about themselves; they act in no
	// organization and no token may call them.
	account bool
	// anybody who is somebody: a token, or a person who is signed in, of an
	// organization or not.
	anybody bool
	// role is the least role in the organization.
	role models.Role
	// scope is the least scope of a token.
	scope models.Scope
	// project says that a token limited to a project may call it: what it reads and
	// changes goes through projectOf, rowOf or a filter by the identity's project.
	project bool
}

// The kinds of access that most operations have.
var (
	everybody = access{public: true}
	oneself   = access{account: true}
	anybody   = access{anybody: true, project: true}
	reading   = access{role: models.RoleViewer, scope: models.ScopeRead, project: true}
	deploying = access{role: models.RoleDeveloper, scope: models.ScopeDeploy, project: true}
	// changing is what a deployment does not need: settings and operators' actions.
	changing = access{role: models.RoleDeveloper, scope: models.ScopeAdmin, project: true}
	// delegating is what everybody does with tokens of their own.
	delegating = access{role: models.RoleViewer, scope: models.ScopeAdmin, project: true}
	// of the whole organization, so never by a token limited to a project.
	looking    = access{role: models.RoleViewer, scope: models.ScopeRead}
	creating   = access{role: models.RoleDeveloper, scope: models.ScopeDeploy}
	leaving    = access{role: models.RoleViewer, scope: models.ScopeAdmin}
	inspecting = access{role: models.RoleAdmin, scope: models.ScopeRead}
	governing  = access{role: models.RoleAdmin, scope: models.ScopeAdmin}
	owning     = access{role: models.RoleOwner, scope: models.ScopeAdmin}
)

// permissions is the one place that says who may call what. An operation without
// a row, or a row without an operation, keeps the gateway from starting.
var permissions = map[string]access{
	"service":       everybody,
	"health":        everybody,
	"deploy-status": everybody,

	"deploy":             deploying,
	"missing-blobs":      deploying,
	"put-blob":           deploying,
	"list-deployments":   reading,
	"get-deployment":     reading,
	"list-dead-letters":  reading,
	"retry-deployment":   deploying,
	"abandon-deployment": deploying,
	"cancel-deployment":  deploying,

	"retry-dead-letters":   deploying,
	"abandon-dead-letters": deploying,

	"deployment-logs":        reading,
	"stream-deployment-logs": reading,

	"create-project":      creating,
	"list-projects":       reading,
	"get-project":         reading,
	"change-project":      changing,
	"delete-project":      governing,
	"transfer-project":    governing,
	"stream-project-logs": reading,

	"stream-events": reading,

	"list-releases":  reading,
	"rollback":       deploying,
	"create-rollout": deploying,
	"list-rollouts":  reading,
	"get-rollout":    reading,
	"cancel-rollout": deploying,

	"list-variables":   reading,
	"change-variables": changing,

	"add-domain":    changing,
	"list-domains":  reading,
	"get-domain":    reading,
	"check-domain":  changing,
	"remove-domain": changing,

	"create-webhook":        governing,
	"list-webhooks":         looking,
	"get-webhook":           looking,
	"change-webhook":        governing,
	"delete-webhook":        governing,
	"rotate-webhook-secret": governing,
	"test-webhook":          governing,
	"list-deliveries":       looking,
	"get-delivery":          looking,
	"redeliver":             governing,

	"me":                  anybody,
	"list-organizations":  anybody,
	"create-organization": oneself,
	"get-organization":    looking,
	"change-organization": governing,
	"delete-organization": owning,
	"get-usage":           looking,

	"list-audit":   inspecting,
	"export-audit": inspecting,
	// From where somebody signs in is nobody else's business, and no token's.
	"list-own-audit":   oneself,
	"export-own-audit": oneself,

	"list-members":  looking,
	"change-member": governing,
	// Who removes another needs to be an admin; the handler knows who is who.
	"remove-member": leaving,

	"invite-member":        governing,
	"list-invitations":     inspecting,
	"withdraw-invitation":  governing,
	"list-own-invitations": oneself,
	"accept-invitation":    oneself,

	"create-token": delegating,
	// Of others' tokens only an admin knows.
	"list-tokens": reading,
	"get-token":   reading,
	// A token may revoke itself; another needs the scope admin.
	"revoke-token": reading,

	"create-device-code":  everybody,
	"create-device-token": everybody,
	"get-device":          oneself,
	"approve-device":      oneself,
	"deny-device":         oneself,
}
