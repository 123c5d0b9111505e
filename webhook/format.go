package webhook

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slipwayhq/slipway/models"
)

// event is what a delivery carries.
type event struct {
	Type      models.EventKind `json:"type"`
	Timestamp time.Time        `json:"timestamp"`
	Data      struct {
		models.EventData
		WorkerName string `json:"workerName"`
	} `json:"data"`
}

func readEvent(payload []byte) (event, error) {
	var e event
	if err := json.Unmarshal(payload, &e); err != nil {
		return e, models.Wrap(models.CodeInternal, err, "The event is damaged.")
	}
	return e, nil
}

// sentence says an event in words, for chats and commit statuses.
func (e event) sentence() string {
	d := e.Data
	switch e.Type {
	case models.EventPing:
		return "Slipway can reach this webhook."
	case models.EventDeploymentStep:
		return fmt.Sprintf("Deployment %d: step %s is %s.", d.Sequence, d.Step, strings.ReplaceAll(string(d.StepStatus), "_", " "))
	case models.EventDeploymentDeadLettered:
		return fmt.Sprintf("Deployment %d is parked: the platform failed at step %s.", d.Sequence, d.Step)
	case models.EventDeploymentSucceeded:
		if d.Outcome == models.OutcomeSuperseded {
			return fmt.Sprintf("Deployment %d is done, but a newer one is live already.", d.Sequence)
		}
		return fmt.Sprintf("Deployment %d succeeded.", d.Sequence)
	case models.EventDeploymentFailed:
		if d.Outcome == models.OutcomeCanceled {
			return fmt.Sprintf("Deployment %d was canceled.", d.Sequence)
		}
		return fmt.Sprintf("Deployment %d failed.", d.Sequence)
	case models.EventRolloutProgressed:
		return fmt.Sprintf("A rollout has %d %% of the visitors.", d.Percent)
	}
	subject, happened, _ := strings.Cut(string(e.Type), ".")
	switch subject {
	case "deployment":
		return fmt.Sprintf("Deployment %d %s.", d.Sequence, happened)
	case "domain":
		return fmt.Sprintf("Domain %s: %s.", d.Host, happened)
	}
	return fmt.Sprintf("A %s %s.", subject, happened)
}

// why is what went wrong, if anything.
func (e event) why() string {
	if e.Data.Error != "" {
		return e.Data.Error
	}
	return e.Data.Reason
}

// slackText escapes what Slack reads as markup
// (https://docs.slack.dev/messaging/formatting-message-text#escaping).
var slackText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// maxSlackText is below Slack's bound of 3,000 characters for a section.
const maxSlackText = 2500

// slackBody is a message for an incoming webhook: text for notifications, a
// block for where it is shown whole.
func (e event) slackBody() ([]byte, error) {
	text := e.sentence()
	if e.Data.WorkerName != "" {
		text = e.Data.WorkerName + ": " + text
	}
	plain := slackText.Replace(text)
	full := plain
	if why := e.why(); why != "" {
		full += "\n>" + strings.ReplaceAll(slackText.Replace(clip(why, maxSlackText)), "\n", "\n>")
	}
	if e.Data.URL != "" {
		full += "\n" + slackText.Replace(e.Data.URL)
	}
	type section struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	return json.Marshal(map[string]any{
		"text":   plain,
		"blocks": []any{map[string]any{"type": "section", "text": section{"mrkdwn", full}}},
	})
}

// maxDescription is GitHub's bound for a status's description, in characters.
const maxDescription = 140

// githubBody is a commit status.
func (e event) githubBody() ([]byte, error) {
	state := "pending"
	switch {
	case e.Type == models.EventDeploymentSucceeded:
		state = "success"
	case e.Type == models.EventDeploymentDeadLettered, e.Data.Outcome == models.OutcomeAbandoned:
		state = "error"
	case e.Type == models.EventDeploymentFailed:
		state = "failure"
	}
	description := e.sentence()
	if e.Data.Error != "" {
		description += " " + strings.Join(strings.Fields(e.Data.Error), " ")
	}
	status := map[string]string{"state": state, "description": clip(description, maxDescription), "context": "slipway/" + e.Data.WorkerName}
	if e.Data.URL != "" {
		status["target_url"] = e.Data.URL
	}
	return json.Marshal(status)
}

// clip shortens a text to so many characters.
func clip(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}
