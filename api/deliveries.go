package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/slipwayhq/slipway/models"
)

// Delivery is one event on its way to a webhook.
type Delivery struct {
	ID            string                `json:"id" doc:"Delivery id; also the id of its workflow" example:"dlv_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	WebhookID     string                `json:"webhookId" doc:"The webhook" example:"whk_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	EventID       string                `json:"eventId" doc:"What the receiver knows the event by: the header webhook-id, the same in every attempt" example:"evt_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Event         models.EventKind      `json:"event" doc:"What happened" example:"deployment.succeeded"`
	Status        models.DeliveryStatus `json:"status" enum:"pending,succeeded,failed" doc:"pending until the receiver has taken it, or every attempt has failed" example:"succeeded"`
	Attempts      int                   `json:"attempts" doc:"How often it was tried" example:"1"`
	LastStatus    int                   `json:"lastStatus,omitempty" doc:"The status answered last; not there when nothing was" example:"200"`
	Error         string                `json:"error,omitempty" doc:"What was wrong with the last attempt" example:"The receiver answered 500 Internal Server Error."`
	NextAttemptAt *time.Time            `json:"nextAttemptAt,omitempty" doc:"When it is tried next" example:"2025-07-22T10:35:00Z"`
	CreatedAt     time.Time             `json:"createdAt" doc:"When it was written" example:"2025-07-22T10:30:00Z"`
	FinishedAt    *time.Time            `json:"finishedAt,omitempty" doc:"When it ended" example:"2025-07-22T10:30:01Z"`
}

// DeliveryDetail is a delivery with what was sent and what came back.
type DeliveryDetail struct {
	Delivery
	Payload    WebhookEvent      `json:"payload" doc:"The event, as the format standard sends it"`
	AttemptLog []DeliveryAttempt `json:"attemptLog" nullable:"false" doc:"Its attempts, oldest first"`
}

// WebhookEvent is the body of a message of the format standard.
type WebhookEvent struct {
	Type      string         `json:"type" doc:"What happened" example:"deployment.succeeded"`
	Timestamp time.Time      `json:"timestamp" doc:"When it happened" example:"2025-07-22T10:30:00Z"`
	Data      map[string]any `json:"data" doc:"What it happened to; docs/webhooks.md names the fields"`
}

// DeliveryAttempt is one attempt of a delivery.
type DeliveryAttempt struct {
	Number     int       `json:"number" doc:"From 1" example:"1"`
	At         time.Time `json:"at" doc:"When it began" example:"2025-07-22T10:30:00Z"`
	Status     int       `json:"status,omitempty" doc:"The status that was answered; not there when nothing was" example:"500"`
	DurationMS int64     `json:"durationMs" doc:"How long it took, in milliseconds" example:"180"`
	Answer     string    `json:"answer,omitempty" doc:"How the answer's body begins, at most 1 KiB" example:"ok"`
	Error      string    `json:"error,omitempty" doc:"What was wrong" example:"The receiver answered 500 Internal Server Error."`
}

// DeliveryList is one page of deliveries.
type DeliveryList struct {
	Items      []Delivery `json:"items" nullable:"false" doc:"Newest first"`
	NextCursor string     `json:"nextCursor,omitempty" doc:"Pass it as cursor for the next page; not there on the last"`
}

type deliveriesInput struct {
	Paging
	ID     string                `path:"id" maxLength:"64" doc:"Webhook id" example:"whk_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	Status models.DeliveryStatus `query:"status" enum:"pending,succeeded,failed" doc:"Only those with this status" example:"failed"`
}

type deliveryInput struct {
	ID         string `path:"id" maxLength:"64" doc:"Webhook id" example:"whk_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
	DeliveryID string `path:"deliveryId" maxLength:"64" doc:"Delivery id" example:"dlv_3kq5q2n7d4v6x2y7z3a4b5c6d7"`
}

type deliveryOutput struct{ Body Delivery }

type deliveryDetailOutput struct{ Body DeliveryDetail }

type deliveriesOutput struct{ Body DeliveryList }

type pingOutput struct {
	Location string `header:"Location" doc:"The delivery's path"`
	Body     Delivery
}

func (s *Server) registerDeliveries() {
	const path = "/webhooks/{id}"
	known := []models.Code{models.CodeWebhookNotFound, models.CodeDeliveryNotFound}
	register(s, route{
		id: "test-webhook", method: http.MethodPost, path: path + "/test", tag: "Webhooks", status: http.StatusCreated,
		summary: "Send a ping", description: "One attempt, whose delivery says what came of it. A webhook of the format github cannot be tested so: a status needs a commit.",
		errors: []models.Code{models.CodeWebhookNotFound, models.CodeConflict},
	}, s.testWebhook)
	register(s, route{
		id: "list-deliveries", method: http.MethodGet, path: path + "/deliveries", tag: "Webhooks",
		summary: "Deliveries of a webhook", description: "They are kept for 30 days.", errors: []models.Code{models.CodeWebhookNotFound},
	}, s.deliveries)
	register(s, route{
		id: "get-delivery", method: http.MethodGet, path: path + "/deliveries/{deliveryId}", tag: "Webhooks",
		summary: "One delivery with its attempts", errors: known,
	}, s.delivery)
	register(s, route{
		id: "redeliver", method: http.MethodPost, path: path + "/deliveries/{deliveryId}/redeliver", tag: "Webhooks",
		summary: "Send a delivery again", description: "At once and under the same event id, whether it is still tried or has ended.",
		errors: append(known, models.CodeConflict),
	}, s.redeliver)
}

func (s *Server) testWebhook(ctx context.Context, in *webhookInput) (*pingOutput, error) {
	hook, err := s.sendingWebhook(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	if hook.Format == models.WebhookGitHub {
		return nil, models.Errorf(models.CodeConflict, "A commit status needs a commit. Deploy with one to see whether the webhook works.")
	}
	row, err := s.opts.Store.CreatePing(ctx, hook)
	if err != nil {
		return nil, err
	}
	s.deliver(ctx, row)
	return &pingOutput{Location: "/webhooks/" + hook.ID + "/deliveries/" + row.ID, Body: deliveryView(row)}, nil
}

// sendingWebhook reads a webhook of the caller's organization that is enabled.
func (s *Server) sendingWebhook(ctx context.Context, id string) (models.Webhook, error) {
	hook, err := s.webhookOf(ctx, id)
	if err == nil && !hook.Enabled {
		err = models.Errorf(models.CodeConflict, "The webhook is disabled. Enable it first: PATCH /webhooks/{id} with {\"enabled\": true}.")
	}
	return hook, err
}

// deliver has a delivery sent now. From here on it exists whatever happens, so a
// failure is only noted: the reconciler starts it.
func (s *Server) deliver(ctx context.Context, row models.Delivery) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Limits.StartTimeout)
	defer cancel()
	log := s.logOf(ctx).WithField("delivery", row.ID)
	runID, err := s.opts.Deliver(ctx, row)
	if err != nil {
		log.WithError(err).Warn("delivery not started; the reconciler will start it")
		return
	}
	if err := s.opts.Store.MarkDeliveryStarted(ctx, row.ID, runID); err != nil {
		log.WithError(err).Warn("delivery started, but its row does not say so yet")
	}
}

func (s *Server) deliveries(ctx context.Context, in *deliveriesInput) (*deliveriesOutput, error) {
	after, err := decodeCursor(models.PrefixDelivery, in.Cursor)
	if err != nil {
		return nil, err
	}
	hook, err := s.webhookOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	rows, err := s.opts.Store.Deliveries(ctx, models.DeliveryFilter{WebhookID: hook.ID, Status: in.Status, After: after, Limit: in.Limit + 1})
	if err != nil {
		return nil, err
	}
	rows, next := page(rows, in.Limit, func(d models.Delivery) models.Position { return models.PositionAt(d.CreatedAt, d.ID) })
	list := DeliveryList{Items: make([]Delivery, 0, len(rows)), NextCursor: next}
	for _, row := range rows {
		list.Items = append(list.Items, deliveryView(row))
	}
	return &deliveriesOutput{list}, nil
}

// deliveryOf reads a delivery of a webhook of the caller's organization.
func (s *Server) deliveryOf(ctx context.Context, hook models.Webhook, id string) (models.Delivery, error) {
	if !models.ValidID(models.PrefixDelivery, id) {
		return models.Delivery{}, models.Errorf(models.CodeDeliveryNotFound, "The webhook has no delivery %q.", shorten(id))
	}
	return s.opts.Store.Delivery(ctx, hook.ID, id)
}

func (s *Server) delivery(ctx context.Context, in *deliveryInput) (*deliveryDetailOutput, error) {
	hook, err := s.webhookOf(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	row, err := s.deliveryOf(ctx, hook, in.DeliveryID)
	if err != nil {
		return nil, err
	}
	attempts, err := s.opts.Store.Attempts(ctx, row.ID)
	if err != nil {
		return nil, err
	}
	detail := DeliveryDetail{Delivery: deliveryView(row), AttemptLog: make([]DeliveryAttempt, 0, len(attempts))}
	if err := json.Unmarshal(row.Payload, &detail.Payload); err != nil {
		return nil, models.Wrap(models.CodeDatabase, err, "The recorded event is damaged.")
	}
	for _, a := range attempts {
		detail.AttemptLog = append(detail.AttemptLog, DeliveryAttempt{
			Number: a.Number, At: stamp(a.CreatedAt), Status: a.Status, DurationMS: a.DurationMS, Answer: a.Answer, Error: a.Error,
		})
	}
	return &deliveryDetailOutput{detail}, nil
}

func (s *Server) redeliver(ctx context.Context, in *deliveryInput) (*deliveryOutput, error) {
	hook, err := s.sendingWebhook(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	row, err := s.deliveryOf(ctx, hook, in.DeliveryID)
	if err != nil {
		return nil, err
	}
	if row, err = s.opts.Store.RenewDelivery(ctx, hook.ID, row.ID); err != nil {
		return nil, err
	}
	s.deliver(ctx, row)
	return &deliveryOutput{deliveryView(row)}, nil
}

func deliveryView(row models.Delivery) Delivery {
	view := Delivery{
		ID: row.ID, WebhookID: row.WebhookID, EventID: row.EventID, Event: row.Kind, Status: row.Status, Attempts: row.Attempts,
		LastStatus: row.LastStatus, Error: row.Error, CreatedAt: stamp(row.CreatedAt), FinishedAt: stampOf(row.FinishedAt),
	}
	if row.Status == models.DeliveryPending {
		view.NextAttemptAt = stampOf(&row.DueAt)
	}
	return view
}
