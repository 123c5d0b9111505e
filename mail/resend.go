package mail

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"strings"
)

// resend hands letters to Resend (https://resend.com/docs/api-reference/emails/send-email).
type resend struct {
	opts Options
	from *mail.Address
}

// Send implements Sender.
func (s *resend) Send(ctx context.Context, m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	body, err := json.Marshal(map[string]any{"from": s.from.String(), "to": []string{m.To}, "subject": m.Subject, "text": m.Text, "html": m.HTML})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(s.opts.ResendURL, "/")+"/emails", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.opts.ResendKey)
	req.Header.Set("Content-Type", "application/json")
	answer, err := s.opts.Client.Do(req)
	if err != nil {
		return fmt.Errorf("send a letter by Resend: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode/100 == 2 {
		return nil
	}
	var problem struct {
		Name    string `json:"name"`
		Message string `json:"message"`
	}
	_ = json.NewDecoder(io.LimitReader(answer.Body, 4096)).Decode(&problem)
	return fmt.Errorf("send a letter by Resend: %s: %s %s", answer.Status, problem.Name, problem.Message)
}
