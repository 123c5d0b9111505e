package auth

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// object is a JSON object of an OpenAPI document.
type object = map[string]any

// documentTag groups the operations of the routes below Prefix.
const documentTag = "Accounts"

// Description is what an OpenAPI 3.1 document says of the routes below Prefix. It
// refers to the header X-Request-Id, which the document has to have among its
// components.
type Description struct {
	// Paths are path items by their path, Components by their section and name.
	Paths      map[string]object
	Components map[string]object
}

// Describe describes every route.
func Describe() Description {
	d := Description{Paths: map[string]object{}, Components: map[string]object{
		"schemas": documentSchemas(),
		"securitySchemes": {"session": object{
			"type": "apiKey", "in": "cookie", "name": SessionCookie, "description": "A session, made by signing in. Over HTTPS the cookie's name begins with `__Secure-`.",
		}},
	}}
	methods := (&Auth{}).table()
	for route, described := range describedRoutes() {
		path := Prefix + route
		if described.last != "" {
			path += "{" + described.last + "}"
		}
		d.Paths[path] = object{strings.ToLower(methods[route].method): described.operation()}
	}
	return d
}

// Routes lists the routes as "METHOD path", sorted.
func (d Description) Routes() []string {
	var list []string
	for path, item := range d.Paths {
		for method := range item {
			list = append(list, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(list)
	return list
}

// AddTo adds the description to an OpenAPI document in JSON. Components that the
// document has already stay as they are.
func (d Description) AddTo(document []byte) ([]byte, error) {
	var whole object
	if err := json.Unmarshal(document, &whole); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	paths := section(whole, "paths")
	for path, item := range d.Paths {
		paths[path] = item
	}
	components := section(whole, "components")
	for name, parts := range d.Components {
		known := section(components, name)
		for part, value := range parts {
			if known[part] == nil {
				known[part] = value
			}
		}
	}
	tags, _ := whole["tags"].([]any)
	whole["tags"] = append(tags, object{
		"name":        documentTag,
		"description": "Signing up, in and out, passwords and sessions, in the wire format of the better-auth client. Errors have the shape `AuthError`.",
	})
	return json.Marshal(whole)
}

// section is an object in another, which it makes where there is none.
func section(of object, name string) object {
	found, ok := of[name].(object)
	if !ok {
		found = object{}
		of[name] = found
	}
	return found
}

// described is what is said of one route.
type described struct {
	id, summary, about string
	// last names the parameter that a path which ends with a slash ends with.
	last       string
	parameters []object
	// body is the schema of the request's body, nil for none, example one of it.
	body, example object
	// answers are those that are no errors, by status.
	answers object
	// errors are the codes it can refuse with.
	errors []string
	// session says that it needs one; mayHave that one makes a difference.
	session, mayHave bool
	// alias says that another route does the same.
	alias bool
}

func (d described) operation() object {
	responses := maps.Clone(d.answers)
	known := documentedErrors()
	for _, code := range d.errors {
		f := known[code]
		status := strconv.Itoa(f.status)
		if responses[status] == nil {
			responses[status] = errorAnswer(f.status)
		}
		media := responses[status].(object)["content"].(object)["application/json"].(object)
		media["examples"].(object)[code] = object{"value": object{"code": code, "message": f.message}}
	}
	for _, response := range responses {
		section(response.(object), "headers")["X-Request-Id"] = object{"$ref": "#/components/headers/X-Request-Id"}
	}
	op := object{"operationId": d.id, "tags": []string{documentTag}, "summary": d.summary, "responses": responses, "security": d.security()}
	if d.about != "" {
		op["description"] = d.about
	}
	if d.alias {
		op["deprecated"] = true
	}
	if len(d.parameters) > 0 {
		op["parameters"] = d.parameters
	}
	if d.body != nil {
		op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": d.body, "example": d.example}}}
	}
	return op
}

func (d described) security() []object {
	switch {
	case d.session:
		return []object{{"session": []string{}}}
	case d.mayHave:
		return []object{{"session": []string{}}, {}}
	default:
		return []object{{}}
	}
}

func errorAnswer(status int) object {
	headers := object{}
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		for _, name := range []string{"Retry-After", "X-Retry-After"} {
			headers[name] = object{"description": "Seconds to wait before trying again", "required": name == "Retry-After", "schema": object{"type": "integer"}, "example": 5}
		}
	}
	return object{"description": http.StatusText(status), "headers": headers, "content": object{
		"application/json": object{"schema": ref("AuthError"), "examples": object{}},
	}}
}

func ref(schema string) object { return object{"$ref": "#/components/schemas/" + schema} }

// documentedErrors are the failures of routes with their status and a message.
func documentedErrors() map[string]*failure {
	const untrusted = ": it must be a path, or an address of this service."
	list := []*failure{
		refuse(http.StatusBadRequest, "VALIDATION_ERROR", "[body.email] Invalid input: expected string, received undefined"),
		refuse(http.StatusBadRequest, "BAD_REQUEST", "The body did not arrive."),
		refuse(http.StatusBadRequest, "INVALID_EMAIL", "Invalid email"),
		refuse(http.StatusBadRequest, "INVALID_TOKEN", "Invalid token"),
		refuse(http.StatusBadRequest, "INVALID_PASSWORD", "Invalid password"),
		refuse(http.StatusBadRequest, "PASSWORD_TOO_SHORT", "Password too short"),
		refuse(http.StatusBadRequest, "PASSWORD_TOO_LONG", "Password too long"),
		refuse(http.StatusBadRequest, "CREDENTIAL_ACCOUNT_NOT_FOUND", "Credential account not found"),
		refuse(http.StatusBadRequest, "EMAIL_PASSWORD_SIGN_UP_DISABLED", "Email and password sign up is not enabled"),
		refuse(http.StatusBadRequest, "EMAIL_CAN_NOT_BE_UPDATED", "Email can not be updated"),
		refuse(http.StatusBadRequest, "NO_FIELDS_TO_UPDATE", "No fields to update"),
		refuse(http.StatusBadRequest, "MISSING_RESPONSE", "Missing CAPTCHA response"),
		refuse(http.StatusUnauthorized, "UNAUTHORIZED", "Unauthorized"),
		refuse(http.StatusUnauthorized, "INVALID_EMAIL_OR_PASSWORD", "Invalid email or password"),
		refuse(http.StatusForbidden, "MISSING_OR_NULL_ORIGIN", "Missing or null Origin"),
		refuse(http.StatusForbidden, "INVALID_ORIGIN", "Invalid origin"),
		refuse(http.StatusForbidden, "INVALID_CALLBACK_URL", "Invalid callbackURL"+untrusted),
		refuse(http.StatusForbidden, "INVALID_REDIRECT_URL", "Invalid redirectTo"+untrusted),
		refuse(http.StatusForbidden, "INVALID_ERROR_CALLBACK_URL", "Invalid errorCallbackURL"+untrusted),
		refuse(http.StatusForbidden, "INVALID_NEW_USER_CALLBACK_URL", "Invalid newUserCallbackURL"+untrusted),
		refuse(http.StatusForbidden, "SIGN_UP_BY_INVITATION", "An account needs an invitation to this address. Ask somebody who is here."),
		refuse(http.StatusForbidden, "VERIFICATION_FAILED", "Captcha verification failed"),
		refuse(http.StatusNotFound, "PROVIDER_NOT_FOUND", "Provider not found"),
		refuse(http.StatusNotFound, "ID_TOKEN_NOT_SUPPORTED", "id_token not supported"),
		refuse(http.StatusRequestEntityTooLarge, "PAYLOAD_TOO_LARGE", "The body must not be longer than 64 KiB."),
		refuse(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be application/json"),
		refuse(http.StatusUnprocessableEntity, "USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL", "User already exists. Use another email."),
		refuse(http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "Too many requests. Please try again later."),
		refuse(http.StatusInternalServerError, "INTERNAL_SERVER_ERROR", "Something went wrong on our side; the request id in the log says what."),
		refuse(http.StatusInternalServerError, "UNKNOWN_ERROR", "Something went wrong"),
		refuse(http.StatusServiceUnavailable, "SERVICE_UNAVAILABLE", "Too many people sign in at once. Try again in a few seconds."),
	}
	known := map[string]*failure{}
	for _, f := range list {
		known[f.code] = f
	}
	return known
}
