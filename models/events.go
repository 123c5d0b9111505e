package models

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// EventKind names something that happened, as webhooks tell it. It is part of
// the API: kinds are added, never renamed.
type EventKind string

// Every kind of event there is, by what it is about.
const (
	EventDeploymentQueued  EventKind = "deployment.queued"
	EventDeploymentStarted EventKind = "deployment.started"
	// EventDeploymentStep is a step's beginning or end.
	EventDeploymentStep         EventKind = "deployment.step"
	EventDeploymentSucceeded    EventKind = "deployment.succeeded"
	EventDeploymentFailed       EventKind = "deployment.failed"
	EventDeploymentDeadLettered EventKind = "deployment.dead_lettered"

	EventDomainAdded    EventKind = "domain.added"
	EventDomainVerified EventKind = "domain.verified"
	EventDomainActive   EventKind = "domain.active"
	EventDomainFailed   EventKind = "domain.failed"
	EventDomainRemoved  EventKind = "domain.removed"

	EventRolloutStarted    EventKind = "rollout.started"
	EventRolloutProgressed EventKind = "rollout.progressed"
	EventRolloutCompleted  EventKind = "rollout.completed"
	EventRolloutReverted   EventKind = "rollout.reverted"
	EventRolloutCanceled   EventKind = "rollout.canceled"
	EventRolloutSuperseded EventKind = "rollout.superseded"

	// EventPing is sent by hand, to see whether a webhook works. No pattern asks
	// for it.
	EventPing EventKind = "ping"
)

// EventKinds are all kinds that a webhook can ask for.
func EventKinds() []EventKind {
	return []EventKind{
		EventDeploymentQueued, EventDeploymentStarted, EventDeploymentStep, EventDeploymentSucceeded, EventDeploymentFailed, EventDeploymentDeadLettered,
		EventDomainAdded, EventDomainVerified, EventDomainActive, EventDomainFailed, EventDomainRemoved,
		EventRolloutStarted, EventRolloutProgressed, EventRolloutCompleted, EventRolloutReverted, EventRolloutCanceled, EventRolloutSuperseded,
	}
}

// patterns are those that match the kind.
func (k EventKind) patterns() []string {
	group, _, _ := strings.Cut(string(k), ".")
	return []string{string(k), group + ".*", "*"}
}

// ValidEventPattern says whether a pattern matches any kind: it is a kind, a
// group such as "deployment.*", or "*".
func ValidEventPattern(pattern string) bool {
	return slices.ContainsFunc(EventKinds(), func(k EventKind) bool { return slices.Contains(k.patterns(), pattern) })
}

// queuedEvent tells of a deployment's beginning.
func queuedEvent(row Deployment, in DeploymentInput) NewEvent {
	return NewEvent{
		Kind: EventDeploymentQueued, ProjectID: row.ProjectID, DeploymentID: row.ID, Subject: row.ID,
		Data: EventData{DeploymentID: row.ID, Sequence: in.Sequence, Commit: in.Commit, Preview: in.Preview, Status: string(StatusQueued)},
	}
}

// statusEvents are what has happened to a deployment between its row and a newer
// status. Several steps may have begun and ended meanwhile.
func statusEvents(row Deployment, now Status) ([]NewEvent, error) {
	before, err := row.RecordedStatus()
	if err != nil {
		return nil, err
	}
	var in DeploymentInput
	if err := json.Unmarshal(row.Input, &in); err != nil {
		return nil, Wrap(CodeDatabase, err, "The recorded input of the deployment is damaged.")
	}
	data := EventData{
		DeploymentID: row.ID, Sequence: row.Sequence, Commit: in.Commit, Preview: in.Preview, Status: string(now.Status), ReleaseID: now.ReleaseID, URL: now.URL,
	}
	var events []NewEvent
	add := func(kind EventKind, of string, data EventData) {
		events = append(events, NewEvent{
			Kind: kind, ProjectID: row.ProjectID, DeploymentID: row.ID, Subject: row.ID, Of: strings.TrimSpace(strconv.FormatInt(now.Version, 10) + " " + of), Data: data,
		})
	}
	if before.Status == StatusQueued && now.Status != StatusQueued {
		add(EventDeploymentStarted, "", data)
	}
	for _, step := range AllSteps() {
		is := now.Steps.Of(step)
		if is.Status == before.Steps.Of(step).Status || is.Status == StepPending {
			continue
		}
		of := data
		of.Step, of.StepStatus, of.Error = step, is.Status, is.Error
		add(EventDeploymentStep, string(step), of)
	}
	if now.Outcome == OutcomeDeadLetter && before.Outcome != OutcomeDeadLetter {
		of := data
		of.Step, of.Outcome, of.Error, of.ErrorCode = now.CurrentStep, now.Outcome, now.Error, now.ErrorCode
		add(EventDeploymentDeadLettered, "", of)
	}
	return events, nil
}

// EndEvent tells how a deployment ended: it is written always, whoever listens.
func EndEvent(in StepInput) NewEvent {
	d := in.Deployment
	status := in.Outcome.Status()
	e := NewEvent{
		Kind: EventDeploymentFailed, ProjectID: d.ProjectID, DeploymentID: d.DeploymentID, Subject: d.DeploymentID, Always: true,
		Data: EventData{DeploymentID: d.DeploymentID, Sequence: d.Sequence, Commit: d.Commit, Preview: d.Preview, Status: string(status), Outcome: in.Outcome},
	}
	if in.Deploy != nil {
		e.Data.ReleaseID, e.Data.URL = in.Deploy.ReleaseID, in.Deploy.URL
	}
	if status == StatusCompleted {
		e.Kind = EventDeploymentSucceeded
	} else {
		e.Data.Error, e.Data.ErrorCode = in.Error, in.ErrorCode
	}
	return e
}

// domainEvent tells what a domain has become. A domain may fail, and be added,
// more than once, so the time is part of what has happened.
func domainEvent(kind EventKind, d Domain) NewEvent {
	e := NewEvent{
		Kind: kind, ProjectID: d.ProjectID, Subject: d.ID, Of: strconv.FormatInt(time.Now().UnixNano(), 10),
		Data: EventData{DomainID: d.ID, Host: d.Host, Status: string(d.Status), Reason: d.Reason},
	}
	if d.Status == DomainActive {
		e.Data.URL = "https://" + d.Host + "/"
	}
	return e
}

// rolloutEvent tells what a rollout has come to.
func rolloutEvent(kind EventKind, r Rollout) NewEvent {
	e := NewEvent{
		Kind: kind, ProjectID: r.ProjectID, Subject: r.ID,
		Data: EventData{RolloutID: r.ID, ReleaseID: r.ReleaseID, BaseReleaseID: r.BaseReleaseID, Percent: r.Percent, Status: string(r.Status), Reason: r.Reason},
	}
	if kind == EventRolloutProgressed {
		e.Of = strconv.Itoa(r.Percent)
	}
	return e
}
