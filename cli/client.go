package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/slipwayhq/slipway/models"
)

const (
	// requestTimeout bounds one attempt of a request that is not a stream. A
	// 5 MiB blob over a slow line must fit in it.
	requestTimeout = 2 * time.Minute
	// maxAttempts counts the first try of a request that may be repeated.
	maxAttempts = 5
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 64 << 20
)

// ClientOptions say which API a Client talks to and as whom.
type ClientOptions struct {
	APIURL string
	// Token is sent as bearer token; empty for the public routes.
	Token string
	// Version goes into User-Agent.
	Version string
	// Transport is one like http.DefaultTransport unless given.
	Transport http.RoundTripper
	// FirstPause is the pause before the second attempt of a request; it
	// doubles with each further one. 250 ms unless given.
	FirstPause time.Duration
}

// Client talks to the API. It repeats requests that may be repeated when the
// network or the server falters. Safe for concurrent use.
type Client struct {
	base       string
	token      string
	agent      string
	http       *http.Client
	firstPause time.Duration
}

// NewClient makes a client; it does not connect yet.
func NewClient(o ClientOptions) (*Client, error) {
	base, err := url.Parse(o.APIURL)
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, usagef("%q is not an API address; it looks like %s", o.APIURL, DefaultAPIURL)
	}
	if o.Transport == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		// The default keeps two: uploads side by side would dial for each file.
		transport.MaxIdleConnsPerHost = uploadsAtOnce + 2
		o.Transport = transport
	}
	if o.FirstPause == 0 {
		o.FirstPause = 250 * time.Millisecond
	}
	return &Client{
		base:       strings.TrimRight(base.String(), "/"),
		token:      o.Token,
		agent:      "slipway/" + o.Version,
		http:       &http.Client{Transport: o.Transport},
		firstPause: o.FirstPause,
	}, nil
}

// APIError is an error envelope from the API.
type APIError struct {
	Status  int
	Code    models.Code
	Message string
	Details json.RawMessage
	// RequestID names the request in the server's log, when the server says it.
	RequestID string
}

func (e *APIError) Error() string { return e.Message }

// UnreachableError says that no API answered at all.
type UnreachableError struct {
	URL   string
	Cause error
}

func (e *UnreachableError) Error() string {
	if errors.Is(e.Cause, syscall.ECONNREFUSED) {
		return fmt.Sprintf("No Slipway answers at %s; is 'slipway dev' running?", e.URL)
	}
	return fmt.Sprintf("%s cannot be reached: %v", e.URL, e.Cause)
}

func (e *UnreachableError) Unwrap() error { return e.Cause }

// call is one request.
type call struct {
	method string
	path   string
	query  url.Values
	// body is sent as JSON unless it is []byte.
	body   any
	header map[string]string
	// repeatable says that doing it twice is the same as doing it once.
	repeatable bool
}

// do sends a call, again if need be, and decodes the answer into out: a JSON
// target, a *[]byte for the bare body, or nil.
func (c *Client) do(ctx context.Context, r call, out any) error {
	body, kind, err := encodeBody(r.body)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		pause, err := c.attempt(ctx, r, body, kind, out)
		if err == nil || pause < 0 || attempt == maxAttempts || ctx.Err() != nil {
			return err
		}
		if err := sleep(ctx, max(pause, c.firstPause<<(attempt-1))); err != nil {
			return err
		}
	}
}

// attempt sends a call once. With an error comes the pause the server asks for
// before the next attempt, or a negative one when there should be none.
func (c *Client) attempt(ctx context.Context, r call, body []byte, kind string, out any) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	response, err := c.send(ctx, r, body, kind)
	if err != nil {
		// Refused means nobody listens: saying so at once helps more than waiting.
		if !r.repeatable || errors.Is(err, syscall.ECONNREFUSED) {
			return -1, err
		}
		return 0, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		if !r.repeatable {
			return -1, &UnreachableError{URL: c.base, Cause: err}
		}
		return 0, &UnreachableError{URL: c.base, Cause: err}
	}
	if len(data) == maxAnswer {
		return -1, fmt.Errorf("%s answered %s %s with more than %s", c.base, r.method, r.path, formatBytes(maxAnswer))
	}
	if response.StatusCode >= 300 {
		return retryPause(response, r.repeatable), c.answerError(response, data)
	}
	switch target := out.(type) {
	case nil:
		return 0, nil
	case *[]byte:
		*target = data
		return 0, nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return -1, fmt.Errorf("%s answered %s %s with something that is not the expected JSON: %w", c.base, r.method, r.path, err)
	}
	return 0, nil
}

// send starts one request and returns the answer's head; the caller closes the body.
func (c *Client) send(ctx context.Context, r call, body []byte, kind string) (*http.Response, error) {
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	request, err := http.NewRequestWithContext(ctx, r.method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		request.Body, request.GetBody, request.ContentLength = nil, nil, 0
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", c.agent)
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	for name, value := range r.header {
		request.Header.Set(name, value)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, c.transportError(ctx, err)
	}
	return response, nil
}

// transportError keeps an interruption recognisable and names the address otherwise.
func (c *Client) transportError(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		err = fmt.Errorf("no answer in time: %w", err)
	}
	return &UnreachableError{URL: c.base, Cause: err}
}

// answerError reads an error envelope; whatever is not one came from something
// else than Slipway, a proxy perhaps.
func (c *Client) answerError(response *http.Response, data []byte) error {
	var envelope struct {
		Error   string          `json:"error"`
		Message string          `json:"message"`
		Details json.RawMessage `json:"details"`
	}
	if json.Unmarshal(data, &envelope) != nil || envelope.Error == "" || envelope.Message == "" {
		return fmt.Errorf("%s answered %s, and not in Slipway's form; is that the address of the API?", c.base, response.Status)
	}
	return &APIError{
		Status:    response.StatusCode,
		Code:      models.Code(envelope.Error),
		Message:   envelope.Message,
		Details:   envelope.Details,
		RequestID: response.Header.Get("X-Request-Id"),
	}
}

// retryPause is how long the server wants us to wait; negative means do not repeat.
func retryPause(response *http.Response, repeatable bool) time.Duration {
	switch response.StatusCode {
	case http.StatusTooManyRequests:
		// Nothing was done, so that repeating is harmless whatever it was.
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		if !repeatable {
			return -1
		}
	default:
		return -1
	}
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, 30*time.Second)
}

func encodeBody(body any) ([]byte, string, error) {
	switch body := body.(type) {
	case nil:
		return nil, "", nil
	case []byte:
		return body, "application/octet-stream", nil
	}
	data, err := json.Marshal(body)
	return data, "application/json", err
}

// sleep waits for d or until ctx ends, whose error it then returns.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
