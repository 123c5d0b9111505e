package models

import (
	"errors"
	"fmt"
	"net/http"
)

// Class says whose failure an error is, which decides what happens next.
type Class string

const (
	// ClassUser is the caller's doing (bad input, failing build, quota, taken
	// domain). Never retried; the deployment ends failed with a diagnosis.
	ClassUser Class = "user"
	// ClassPlatform is ours (storage, sandbox host, target API, a timeout).
	// Retried, then parked as a dead letter for an operator.
	ClassPlatform Class = "platform"
)

// Code names a kind of error. It is part of the API: codes are added, never renamed.
type Code string

// Every code there is. What each means over HTTP stands in codeTable, once.
const (
	CodeValidation         Code = "VALIDATION_ERROR"
	CodeUnauthorized       Code = "UNAUTHORIZED"
	CodeForbidden          Code = "FORBIDDEN"
	CodeNotFound           Code = "NOT_FOUND"
	CodeProjectNotFound    Code = "PROJECT_NOT_FOUND"
	CodeDeploymentNotFound Code = "DEPLOYMENT_NOT_FOUND"
	CodeReleaseNotFound    Code = "RELEASE_NOT_FOUND"
	CodeBlobNotFound       Code = "BLOB_NOT_FOUND"
	CodeMethodNotAllowed   Code = "METHOD_NOT_ALLOWED"
	CodeConflict           Code = "CONFLICT"
	CodeIdempotency        Code = "IDEMPOTENCY_CONFLICT"
	CodeNameTaken          Code = "WORKER_NAME_TAKEN"
	CodeNotParked          Code = "DEPLOYMENT_NOT_PARKED"
	CodeNotRunning         Code = "DEPLOYMENT_NOT_RUNNING"
	CodeDomainUnavailable  Code = "DOMAIN_UNAVAILABLE"
	CodeQuotaExceeded      Code = "QUOTA_EXCEEDED"
	CodeTooLarge           Code = "PAYLOAD_TOO_LARGE"
	CodeUnsupportedMedia   Code = "UNSUPPORTED_MEDIA_TYPE"
	CodeNotAcceptable      Code = "NOT_ACCEPTABLE"
	CodeRateLimited        Code = "RATE_LIMITED"
	CodeDigestMismatch     Code = "DIGEST_MISMATCH"
	CodeNoSource           Code = "NO_SOURCE"
	CodeBuildFailed        Code = "BUILD_FAILED"
	CodeReleaseInvalid     Code = "RELEASE_INVALID"
	CodeDeploymentTimeout  Code = "DEPLOYMENT_TIMEOUT"
	CodeCanceled           Code = "CANCELED"
	CodeSandbox            Code = "SANDBOX_UNAVAILABLE"
	CodeStorage            Code = "STORAGE_UNAVAILABLE"
	CodeDatabase           Code = "DATABASE_UNAVAILABLE"
	CodeQueue              Code = "QUEUE_UNAVAILABLE"
	CodeRequestTimeout     Code = "REQUEST_TIMEOUT"
	// CodeWorkerStart is a worker that did not start: it threw, or never got ready.
	CodeWorkerStart Code = "WORKER_START_FAILED"
	// CodeWorkerCrashed is a worker that ended, or was ended, under a request.
	CodeWorkerCrashed Code = "WORKER_CRASHED"
	// CodeWorkerBusy says that a limit on workers or on a worker's requests is
	// reached; trying again later may succeed.
	CodeWorkerBusy       Code = "WORKER_BUSY"
	CodeDomainNotFound   Code = "DOMAIN_NOT_FOUND"
	CodeVariableNotFound Code = "VARIABLE_NOT_FOUND"
	CodeRolloutNotFound  Code = "ROLLOUT_NOT_FOUND"

	CodeOrganizationNotFound Code = "ORGANIZATION_NOT_FOUND"
	CodeMemberNotFound       Code = "MEMBER_NOT_FOUND"
	CodeInvitationNotFound   Code = "INVITATION_NOT_FOUND"
	CodeTokenNotFound        Code = "TOKEN_NOT_FOUND"
	CodeSessionNotFound      Code = "SESSION_NOT_FOUND"
	CodeWebhookNotFound      Code = "WEBHOOK_NOT_FOUND"
	CodeDeliveryNotFound     Code = "DELIVERY_NOT_FOUND"
	// CodeLastOwner refuses what would leave an organization without an owner.
	CodeLastOwner Code = "LAST_OWNER"
	// CodePreconditionFailed says that what If-Match names is not how it is now
	// (RFC 9110 §13.1.1).
	CodePreconditionFailed Code = "PRECONDITION_FAILED"
	// CodeCrossSite refuses a request that another site's page made a browser send.
	CodeCrossSite Code = "CROSS_SITE_REQUEST"
	// The answers to a device that waits for its person (RFC 8628 §3.5).
	CodeAuthorizationPending Code = "AUTHORIZATION_PENDING"
	CodeSlowDown             Code = "SLOW_DOWN"
	CodeAccessDenied         Code = "ACCESS_DENIED"
	CodeExpiredToken         Code = "EXPIRED_TOKEN"
	CodeCertificate          Code = "CERTIFICATE_UNAVAILABLE"
	CodeDispatcher           Code = "DISPATCHER_UNAVAILABLE"
	CodeInternal             Code = "INTERNAL_ERROR"
)

type codeRow struct {
	status int
	class  Class
}

// codeTable is the one place that says what a code means to HTTP and whose it is.
var codeTable = map[Code]codeRow{
	CodeValidation:         {http.StatusBadRequest, ClassUser},
	CodeUnauthorized:       {http.StatusUnauthorized, ClassUser},
	CodeForbidden:          {http.StatusForbidden, ClassUser},
	CodeNotFound:           {http.StatusNotFound, ClassUser},
	CodeProjectNotFound:    {http.StatusNotFound, ClassUser},
	CodeDeploymentNotFound: {http.StatusNotFound, ClassUser},
	CodeReleaseNotFound:    {http.StatusNotFound, ClassUser},
	CodeBlobNotFound:       {http.StatusNotFound, ClassUser},
	CodeMethodNotAllowed:   {http.StatusMethodNotAllowed, ClassUser},
	CodeConflict:           {http.StatusConflict, ClassUser},
	CodeIdempotency:        {http.StatusConflict, ClassUser},
	CodeNameTaken:          {http.StatusConflict, ClassUser},
	CodeNotParked:          {http.StatusConflict, ClassUser},
	CodeNotRunning:         {http.StatusConflict, ClassUser},
	CodeDomainUnavailable:  {http.StatusConflict, ClassUser},
	CodeQuotaExceeded:      {http.StatusForbidden, ClassUser},
	CodeTooLarge:           {http.StatusRequestEntityTooLarge, ClassUser},
	CodeUnsupportedMedia:   {http.StatusUnsupportedMediaType, ClassUser},
	CodeNotAcceptable:      {http.StatusNotAcceptable, ClassUser},
	CodeRateLimited:        {http.StatusTooManyRequests, ClassUser},
	CodeDigestMismatch:     {http.StatusBadRequest, ClassUser},
	CodeNoSource:           {http.StatusBadRequest, ClassUser},
	CodeBuildFailed:        {http.StatusUnprocessableEntity, ClassUser},
	CodeReleaseInvalid:     {http.StatusUnprocessableEntity, ClassUser},
	CodeDeploymentTimeout:  {http.StatusGatewayTimeout, ClassUser},
	CodeCanceled:           {http.StatusConflict, ClassUser},
	CodeSandbox:            {http.StatusServiceUnavailable, ClassPlatform},
	CodeStorage:            {http.StatusServiceUnavailable, ClassPlatform},
	CodeDatabase:           {http.StatusServiceUnavailable, ClassPlatform},
	CodeQueue:              {http.StatusServiceUnavailable, ClassPlatform},
	CodeRequestTimeout:     {http.StatusRequestTimeout, ClassUser},
	CodeWorkerStart:        {http.StatusBadGateway, ClassUser},
	CodeWorkerCrashed:      {http.StatusBadGateway, ClassUser},
	CodeWorkerBusy:         {http.StatusServiceUnavailable, ClassPlatform},
	CodeDomainNotFound:     {http.StatusNotFound, ClassUser},
	CodeVariableNotFound:   {http.StatusNotFound, ClassUser},
	CodeRolloutNotFound:    {http.StatusNotFound, ClassUser},

	CodeOrganizationNotFound: {http.StatusNotFound, ClassUser},
	CodeMemberNotFound:       {http.StatusNotFound, ClassUser},
	CodeInvitationNotFound:   {http.StatusNotFound, ClassUser},
	CodeTokenNotFound:        {http.StatusNotFound, ClassUser},
	CodeSessionNotFound:      {http.StatusNotFound, ClassUser},
	CodeWebhookNotFound:      {http.StatusNotFound, ClassUser},
	CodeDeliveryNotFound:     {http.StatusNotFound, ClassUser},
	CodeLastOwner:            {http.StatusConflict, ClassUser},
	CodePreconditionFailed:   {http.StatusPreconditionFailed, ClassUser},
	CodeCrossSite:            {http.StatusForbidden, ClassUser},
	CodeAuthorizationPending: {http.StatusBadRequest, ClassUser},
	CodeSlowDown:             {http.StatusBadRequest, ClassUser},
	CodeAccessDenied:         {http.StatusBadRequest, ClassUser},
	CodeExpiredToken:         {http.StatusBadRequest, ClassUser},

	CodeCertificate: {http.StatusServiceUnavailable, ClassPlatform},
	CodeDispatcher:  {http.StatusServiceUnavailable, ClassPlatform},
	CodeInternal:    {http.StatusInternalServerError, ClassPlatform},
}

// HTTPStatus is the status an answer with this code carries; an unknown code is 500.
func (c Code) HTTPStatus() int {
	if row, ok := codeTable[c]; ok {
		return row.status
	}
	return http.StatusInternalServerError
}

// Class says whose failure the code is; an unknown code is the platform's.
func (c Code) Class() Class {
	if row, ok := codeTable[c]; ok {
		return row.class
	}
	return ClassPlatform
}

// Error is an error with a code and a message that is safe and useful to show:
// it says what is wrong and what to do next. The cause is for logs only.
type Error struct {
	Code    Code
	Message string
	// Details is optional, machine-readable, and safe to show.
	Details any
	// Cause is what was underneath, never shown to a caller.
	Cause error
}

// Errorf makes an Error. A %w in the format becomes its cause; the formatted
// text is what a caller sees, so wrap a cause with Wrap when it must not show.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Cause: errors.Unwrap(err)}
}

// Wrap makes an Error whose message is safe to show and whose cause is kept for logs.
func Wrap(code Code, cause error, message string) *Error {
	return &Error{Code: code, Message: message, Cause: cause}
}

// WithDetails sets the machine-readable part and returns the same error.
func (e *Error) WithDetails(details any) *Error {
	e.Details = details
	return e
}

// Error is the message with its cause, for logs.
func (e *Error) Error() string {
	if e.Cause == nil || e.Cause.Error() == e.Message {
		return e.Message
	}
	return e.Message + ": " + e.Cause.Error()
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Cause }

// CodeOf finds the code in an error chain; an error without one is CodeInternal.
func CodeOf(err error) Code {
	var coded *Error
	if errors.As(err, &coded) {
		return coded.Code
	}
	return CodeInternal
}

// MessageOf finds the message to show. An error without a code shows nothing of itself.
func MessageOf(err error) string {
	var coded *Error
	if errors.As(err, &coded) {
		return coded.Message
	}
	return "Something went wrong on our side; the request id in the log says what."
}
