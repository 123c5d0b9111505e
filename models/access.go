package models

// Role is what a member may do in an organization. Each includes those below it.
type Role string

// The roles, from the least.
const (
	// RoleViewer reads everything but secrets.
	RoleViewer Role = "viewer"
	// RoleDeveloper deploys and changes projects.
	RoleDeveloper Role = "developer"
	// RoleAdmin also has members, tokens, webhooks and the deletion of projects.
	RoleAdmin Role = "admin"
	// RoleOwner also makes owners and ends the organization.
	RoleOwner Role = "owner"
)

// Roles are all roles, from the least.
func Roles() []Role { return []Role{RoleViewer, RoleDeveloper, RoleAdmin, RoleOwner} }

func (r Role) rank() int {
	for i, role := range Roles() {
		if r == role {
			return i + 1
		}
	}
	return 0
}

// Valid says whether r is one of the roles.
func (r Role) Valid() bool { return r.rank() > 0 }

// Includes says whether r may do what least may. An unknown role includes none.
func (r Role) Includes(least Role) bool { return r.rank() > 0 && r.rank() >= least.rank() }

// Scope is what an API token may be used for, within the role of who made it.
type Scope string

// The scopes, from the least; each includes those below it.
const (
	ScopeRead   Scope = "read"
	ScopeDeploy Scope = "deploy"
	ScopeAdmin  Scope = "admin"
)

// Scopes are all scopes, from the least.
func Scopes() []Scope { return []Scope{ScopeRead, ScopeDeploy, ScopeAdmin} }

func (s Scope) rank() int {
	for i, scope := range Scopes() {
		if s == scope {
			return i + 1
		}
	}
	return 0
}

// Valid says whether s is one of the scopes.
func (s Scope) Valid() bool { return s.rank() > 0 }

// Includes says whether s lets what least does. An unknown scope includes none.
func (s Scope) Includes(least Scope) bool { return s.rank() > 0 && s.rank() >= least.rank() }

// Identity is who a request acts as: a person who is signed in, or a token made
// by one. What it may do is the least of its role, its scope and its project.
type Identity struct {
	UserID string
	// OrganizationID is the organization acted in; "" when a person's request is
	// about themselves only.
	OrganizationID string
	// Role is the person's in that organization, "" without one.
	Role Role
	// TokenID is of the API token, "" for a session.
	TokenID string
	// Scope is the token's; a session has ScopeAdmin.
	Scope Scope
	// ProjectID limits a token to one project; "" is all of the organization's.
	ProjectID string
	// SessionID is of the session, "" for a token.
	SessionID string
}

// MayUseProject says whether the identity reaches a project of its organization.
func (i Identity) MayUseProject(id string) bool { return i.ProjectID == "" || i.ProjectID == id }
