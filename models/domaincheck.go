package models

import "time"

// Names that cross process boundaries, as in steps.go.
const (
	WorkflowDomain = "Domain"
	// SignalCheck has a domain looked at now rather than at the next attempt.
	SignalCheck = "check"
	// ActivityCheckDomain looks at DNS once and moves the domain on;
	// ActivityFailDomain ends a claim that proved nothing in time.
	ActivityCheckDomain = "check-domain"
	ActivityFailDomain  = "fail-domain"
)

// DomainInput starts the workflow that verifies a domain.
type DomainInput struct {
	DomainID string `json:"domainId"`
	Host     string `json:"host"`
	// Timeout is how long the domain may take to become active.
	Timeout time.Duration `json:"timeout"`
	// Since is when the first run of the workflow began; zero in that one.
	Since time.Time `json:"since,omitzero"`
}

// DomainState is what a domain has come to.
type DomainState struct {
	Status DomainStatus `json:"status,omitempty"`
	Reason string       `json:"reason,omitempty"`
	// Removed says that the claim was given up meanwhile.
	Removed bool `json:"removed,omitempty"`
}

// Settled says that nothing is left to wait for.
func (s DomainState) Settled() bool {
	return s.Removed || s.Status == DomainActive || s.Status == DomainFailed
}
