package main

import (
	"context"
	"fmt"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
)

// sessionCreation is the SDK's activity that holds a session's slot while the
// steps run: its time is theirs.
const sessionCreation = "internalSessionCreationActivity"

// historyOf counts what the server had to do for an execution, and says what the
// time between its start and its end went to.
func historyOf(ctx context.Context, c client.Client, id string) (string, error) {
	var events, tasks, activities int
	var queued, worked time.Duration
	var holder int64
	scheduled, started := map[int64]time.Time{}, map[int64]time.Time{}
	ran := func(scheduledID, startedID int64, end time.Time) {
		queued += started[startedID].Sub(scheduled[scheduledID])
		worked += end.Sub(started[startedID])
	}
	history := c.GetWorkflowHistory(ctx, id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for history.HasNext() {
		event, err := history.Next()
		if err != nil {
			return "", fmt.Errorf("read the history of %s: %w", id, err)
		}
		events++
		at := event.GetEventTime().AsTime()
		switch event.GetEventType() {
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			scheduled[event.GetEventId()] = at
			if event.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName() == sessionCreation {
				holder = event.GetEventId()
			}
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED:
			scheduled[event.GetEventId()] = at
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED, enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
			started[event.GetEventId()] = at
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
			done := event.GetWorkflowTaskCompletedEventAttributes()
			ran(done.GetScheduledEventId(), done.GetStartedEventId(), at)
			tasks++
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
			done := event.GetActivityTaskCompletedEventAttributes()
			if done.GetScheduledEventId() == holder {
				at = started[done.GetStartedEventId()]
			}
			ran(done.GetScheduledEventId(), done.GetStartedEventId(), at)
			activities++
		}
	}
	return fmt.Sprintf("%d workflow tasks, %d activities, %d events; all of them together waited %s for a worker and took %s on it",
		tasks, activities, events, queued.Round(time.Millisecond), worked.Round(time.Millisecond)), nil
}
