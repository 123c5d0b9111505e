package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"
	"github.com/gin-gonic/gin"

	"github.com/slipwayhq/slipway/models"
)

// Error is the body of every answer that is not a success.
type Error struct {
	Success   bool        `json:"success" enum:"false" doc:"Always false"`
	Code      models.Code `json:"error" doc:"What kind of error this is; codes are added, never renamed" example:"VALIDATION_ERROR"`
	Message   string      `json:"message" doc:"What is wrong and what to do, for people" example:"initFiles[3].path must be relative, without a leading slash"`
	Details   any         `json:"details,omitempty" doc:"More about it, for programs. With VALIDATION_ERROR a list of FieldError, where it is about fields"`
	Timestamp time.Time   `json:"timestamp" doc:"When the error happened"`
}

// FieldError says what is wrong with one field of a request.
type FieldError struct {
	Field   string `json:"field,omitempty" doc:"The field, such as initFiles[3].path" example:"initFiles[3].path"`
	In      string `json:"in" enum:"body,query,path,header" doc:"Where the field is"`
	Message string `json:"message" doc:"What is wrong with it" example:"must not be empty"`
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// GetStatus implements huma.StatusError.
func (e *Error) GetStatus() int { return e.Code.HTTPStatus() }

// GetHeaders implements huma.HeadersError.
func (e *Error) GetHeaders() http.Header {
	switch e.GetStatus() {
	case http.StatusUnauthorized:
		return http.Header{"Www-Authenticate": {`Bearer realm="slipway"`}}
	case http.StatusTooManyRequests:
		return http.Header{"Retry-After": {retryAfter(e)}}
	case http.StatusServiceUnavailable:
		return http.Header{"Retry-After": {"5"}}
	default:
		return nil
	}
}

// maxDetails bounds the list of field errors: a request of 5,000 bad paths is
// answered with the first of them.
const maxDetails = 100

// invalid makes the error of a request with bad fields; nil when there are none.
func invalid(fields []FieldError) error {
	if len(fields) == 0 {
		return nil
	}
	first := fields[0]
	message := strings.TrimSpace(first.Field + " " + first.Message)
	if r, _ := utf8.DecodeRuneInString(first.Message); first.Field != "" && unicode.IsUpper(r) {
		message = first.Field + ": " + first.Message // a sentence of its own
	}
	if more := len(fields) - 1; more > 0 {
		message += fmt.Sprintf(" (and %d more)", more)
	}
	if len(fields) > maxDetails {
		fields = fields[:maxDetails]
	}
	return models.Errorf(models.CodeValidation, "%s", message).WithDetails(fields)
}

// now is the time as answers show it: UTC, milliseconds.
func now() time.Time { return stamp(time.Now()) }

func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// envelopeOf translates any error; it is the only place that does.
func envelopeOf(err error) *Error {
	var done *Error
	if errors.As(err, &done) {
		return done
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		err = tooLargeError(tooLarge.Limit)
	}
	answer := &Error{Code: models.CodeOf(err), Message: models.MessageOf(err), Timestamp: now()}
	var coded *models.Error
	if errors.As(err, &coded) {
		answer.Details = coded.Details
	}
	return answer
}

func tooLargeError(limit int64) *models.Error {
	return models.Errorf(models.CodeTooLarge, "The request body is larger than the %d bytes allowed.", limit).
		WithDetails(map[string]any{"limitBytes": limit})
}

// failure translates a handler's error, and logs it when it is the platform's.
func (s *Server) failure(ctx context.Context, err error) *Error {
	answer := envelopeOf(err)
	s.measures.failed(answer)
	noteCode(ctx, answer.Code)
	if answer.GetStatus() >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		s.logOf(ctx).WithError(err).WithField("code", answer.Code).Error("request failed")
	}
	return answer
}

// leftoverTime is how long the rest of a body may take that nobody will read.
const leftoverTime = time.Second

// writeError ends a request that no huma handler answers.
func (s *Server) writeError(c *gin.Context, err error) {
	answer := s.failure(c.Request.Context(), err)
	for name, values := range answer.GetHeaders() {
		if c.Writer.Header().Get(name) == "" {
			c.Writer.Header()[name] = values
		}
	}
	if c.Request.ContentLength != 0 {
		// net/http reads what is left of a body before it answers.
		_ = http.NewResponseController(c.Writer).SetReadDeadline(time.Now().Add(leftoverTime))
	}
	c.AbortWithStatusJSON(answer.GetStatus(), answer)
}

// init gives huma our error type and has it take fields by their names alone. huma
// keeps both in variables of the package, so they are set before anything can run.
func init() {
	// encoding/json takes a field in any case, the last one given. Only names as they
	// are documented may pass, or a field could be checked once and sent twice.
	huma.ValidateStrictCasing = true
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return humaError(status, message, errs)
	}
}

// humaError translates what huma itself refuses. Values are not repeated: they
// may be large or secret.
func humaError(status int, message string, errs []error) *Error {
	for _, err := range errs {
		var coded *models.Error
		if errors.As(err, &coded) {
			return envelopeOf(err)
		}
	}
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		fields := make([]FieldError, 0, len(errs))
		for _, err := range errs {
			fields = append(fields, fieldError(err))
		}
		if len(fields) == 0 {
			fields = append(fields, FieldError{In: "body", Message: message})
		}
		return envelopeOf(invalid(fields))
	case http.StatusRequestEntityTooLarge:
		return envelopeOf(models.Errorf(models.CodeTooLarge, "The request body is larger than this route allows."))
	case http.StatusUnsupportedMediaType:
		return envelopeOf(models.Errorf(models.CodeUnsupportedMedia, "Send the body as application/json."))
	case http.StatusRequestTimeout:
		return envelopeOf(models.Errorf(models.CodeRequestTimeout, "The request body took too long to arrive."))
	case http.StatusNotAcceptable:
		return envelopeOf(models.Errorf(models.CodeNotAcceptable, "This route answers with application/json."))
	}
	if message == "cannot read request body" {
		// The connection broke; nobody of ours is to blame.
		return envelopeOf(models.Errorf(models.CodeValidation, "The request body could not be read to its end."))
	}
	return envelopeOf(models.Wrap(models.CodeInternal, errors.Join(errs...), models.MessageOf(nil)))
}

// requiredProperty is the text around the name of a missing property, which
// huma reports on the object that should have it.
var requiredPrefix, requiredSuffix, _ = strings.Cut(validation.MsgExpectedRequiredProperty, "%s")

// notATime begins what huma says of a parameter that is no time; Go's name of the
// format, which follows, means nothing to who sent it.
const notATime = "invalid date/time for format "

func fieldError(err error) FieldError {
	var detailer huma.ErrorDetailer
	if !errors.As(err, &detailer) {
		return FieldError{In: "body", Message: err.Error()}
	}
	detail := detailer.ErrorDetail()
	in, field, _ := strings.Cut(detail.Location, ".")
	out := FieldError{Field: shorten(field), In: in, Message: shorten(detail.Message)}
	if name, ok := strings.CutPrefix(detail.Message, requiredPrefix); ok {
		if name, ok := strings.CutSuffix(name, requiredSuffix); ok {
			out.Field = strings.TrimPrefix(out.Field+"."+name, ".")
			out.Message = "is required"
		}
	}
	if strings.HasPrefix(detail.Message, notATime) {
		out.Message = "must be a time in RFC 3339, such as 2025-07-22T10:30:00Z"
	}
	return out
}

// shorten keeps a name or message that a caller chose from filling the answer.
func shorten(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	cut := most
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

var errNotUTF8 = errors.New("must be valid UTF-8; send binary files with \"encoding\": \"base64\"")

// unmarshalJSON refuses what encoding/json would silently replace: a file whose
// bytes are not UTF-8 must not arrive changed.
func unmarshalJSON(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errNotUTF8
	}
	err := json.Unmarshal(data, v)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("is not valid JSON at byte %d: %s", syntax.Offset, syntax.Error())
	}
	if _, checked := v.(*any); checked && err == nil {
		// huma decodes twice: to check what came, then into the handler's type.
		if name, twice := repeatedField(data); twice {
			return fmt.Errorf("has the field %q twice", shorten(name))
		}
	}
	return err
}
