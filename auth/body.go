package auth

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
)

// decode reads a JSON object into body. Unknown fields are left out, as clients
// send what their plugins need.
func decode(r *http.Request, body any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be application/json")
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return refuse(http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE", "Send the body without Content-Encoding.")
	}
	raw, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return refuse(http.StatusRequestEntityTooLarge, "PAYLOAD_TOO_LARGE", "The body must not be longer than 64 KiB.")
	case err != nil:
		return refuse(http.StatusBadRequest, "BAD_REQUEST", "The body did not arrive.")
	case len(strings.TrimSpace(string(raw))) == 0 || strings.TrimSpace(string(raw))[0] != '{':
		return refuse(http.StatusBadRequest, "VALIDATION_ERROR", "[body] Invalid input: expected object")
	}
	err = json.Unmarshal(raw, body)
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return invalid(wrong.Field, "expected another type than "+wrong.Value)
	}
	if err != nil {
		return refuse(http.StatusBadRequest, "VALIDATION_ERROR", "[body] Invalid input: this is no JSON")
	}
	return nil
}

// required gives the text of a field that must be there.
func required(field string, value *string) (string, error) {
	if value == nil {
		return "", invalid(field, "expected string, received undefined")
	}
	return *value, nil
}
