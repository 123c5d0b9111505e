package models

import (
	"encoding/json"
	"time"
)

// Organization owns projects, members and quota.
type Organization struct {
	ID   string
	Name string
	// Version is another after every change of the settings above; the database
	// counts it.
	Version int64 `gorm:"default:1"`
	// The quotas. What is used of a period counts only until PeriodEnd; see
	// Store.Usage.
	DeploymentsLimit  int64
	DeploymentsUsed   int64
	BuildMinutesLimit int64
	BuildSecondsUsed  int64
	ProjectsLimit     int64
	DomainsLimit      int64
	StorageLimit      int64 // bytes
	PeriodStart       time.Time
	PeriodEnd         time.Time
	CreatedAt         time.Time
}

// User is a person or a service that acts.
type User struct {
	ID            string
	Email         string
	EmailVerified bool
	Name          string
	Image         string
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

// Membership gives a user a role in an organization.
type Membership struct {
	OrganizationID string `gorm:"primaryKey"`
	UserID         string `gorm:"primaryKey"`
	Role           Role
	CreatedAt      time.Time
}

// Project is a worker name with its source and what is live.
type Project struct {
	ID             string
	OrganizationID string
	Name           string
	WorkerName     string
	SourceDigest   string
	SourceSequence int64
	LastSequence   int64
	HighWaterMark  int64
	LiveReleaseID  string
	// Version is another after every change that clients can see; the database
	// counts it.
	Version   int64 `gorm:"default:1"`
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Deployment is one attempt to bring a source live; its id is the workflow id.
type Deployment struct {
	ID             string
	ProjectID      string
	OrganizationID string
	UserID         string
	Sequence       int64
	Status         DeploymentStatus
	Outcome        Outcome
	CurrentStep    Step
	Progress       int
	Error          string
	ErrorCode      Code
	State          json.RawMessage `gorm:"type:jsonb"`
	StateVersion   int64
	CustomDomain   string
	RequestDigest  string
	SourceDigest   string
	ReleaseID      string
	LogDigest      string
	Priority       int
	Input          json.RawMessage `gorm:"type:jsonb"`
	WorkflowRunID  string
	CreatedAt      time.Time
	UpdatedAt      time.Time
	FinishedAt     *time.Time
}

// Release is the immutable result of a deployment.
type Release struct {
	ID             string
	ProjectID      string
	OrganizationID string
	DeploymentID   string
	Sequence       int64
	ManifestDigest string
	// SourceDigest and OutputDigest name the source and the build output it was
	// made of, so that a change of variables makes a new release without a build.
	SourceDigest string
	OutputDigest string
	// WorkerDigest names the WorkerBundle; "" for a site without server code.
	WorkerDigest string
	// Environment is the project's variables and secrets as they were, sealed;
	// empty when there were none.
	Environment []byte
	// CheckedAt is when it was seen to answer; nil until then, and nobody is sent
	// to it before.
	CheckedAt *time.Time
	Framework string
	Files     int
	Bytes     int64
	CreatedAt time.Time
}

// Route says which release answers a worker name or a host.
type Route struct {
	Key            string `gorm:"primaryKey"`
	ProjectID      string
	OrganizationID string
	WorkerName     string
	ReleaseID      string
	ManifestDigest string
	// WorkerDigest names the release's WorkerBundle; "" for a site without
	// server code.
	WorkerDigest string
	// The canary is a second release that answers CanaryPercent (1–99) of the
	// visitors during a rollout; "" and 0 when there is none.
	CanaryReleaseID      string
	CanaryManifestDigest string
	CanaryWorkerDigest   string
	CanaryPercent        int
	// Generation grows with every flip of any route, so that a slow load can be
	// told from a newer one.
	Generation int64
	// Preview says that the route is one release's own address: it never changes
	// and is no row.
	Preview   bool `gorm:"-"`
	UpdatedAt time.Time
}

// LogChunk is a run of build log lines, kept while the log is live.
type LogChunk struct {
	DeploymentID string
	// FirstLine is the number of Lines[0] within the log, from 1.
	FirstLine int64
	Lines     []string
	CreatedAt time.Time
}

// RoutesChannel is where route changes are announced with NOTIFY; the payload
// is a RouteChange.
const RoutesChannel = "slipway_routes"

// WorkerRouteKey is the key of the route of a worker name.
func WorkerRouteKey(worker string) string { return "w:" + worker }

// HostRouteKey is the key of the route of a custom host.
func HostRouteKey(host string) string { return "h:" + host }
