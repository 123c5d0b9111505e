package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/slipwayhq/slipway/models"
)

// exampleTime is the moment at which the document's examples play.
const exampleTime = "2025-07-22T10:30:00.000Z"

// commonExamples are the examples of fields and parameters that mean the same wherever
// they are; what a declaration says itself stands above them.
func commonExamples() map[string]string {
	const id = "_3kq5q2n7d4v6x2y7z3a4b5c6d7"
	cursor := encodeCursor(models.Position{Key: 1753180200000000, ID: "dep" + id})
	return map[string]string{
		"projectId": "prj" + id, "orgId": "org" + id, "organizationId": "org" + id, "userId": "usr" + id, "deploymentId": "dep" + id,
		"releaseId": "rel" + id, "baseReleaseId": "rel" + id, "liveReleaseId": "rel" + id, "previousReleaseId": "rel" + id, "release": "rel" + id,
		"tokenId": "tok" + id, "webhookId": "whk" + id, "memberId": "usr" + id, "createdBy": "usr" + id,
		"cursor": cursor, "nextCursor": cursor, "Last-Event-ID": "42", "url": "http://my-shop.localhost:3005/", "email": "ada@example.com",
		"sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "customDomain": "example.com",
		"currentStep": "build", "step": "build", "error": "The build failed; its log says why.", "errorCode": "BUILD_FAILED",
		"If-Match": `"9f2c4b"`,
	}
}

// exampleDeploy is a body of POST /deploy, where files and initFiles exclude each other.
func exampleDeploy() map[string]any {
	common := commonExamples()
	return map[string]any{
		"projectId": common["projectId"], "orgId": common["orgId"], "userId": common["userId"],
		"initFiles": []map[string]any{
			{"path": "index.html", "content": "<h1>Hello</h1>"},
			{"path": "dot.gif", "content": "R0lGODlhAQABAAAAACw=", "encoding": "base64"},
		},
	}
}

// exampleMaker makes examples of bodies from the examples of their fields.
type exampleMaker struct {
	schemas huma.Registry
	common  map[string]string
}

// name gives the fields of a schema without an example the common one of their names.
func (m exampleMaker) name(schema *huma.Schema) {
	for name, property := range schema.Properties {
		common, ok := m.common[name]
		if ok && property.Type == huma.TypeString && property.Format == "" && m.stated(property) == nil {
			property.Examples = []any{common}
		}
		m.name(property)
	}
	if schema.Items != nil {
		m.name(schema.Items)
	}
}

// complete gives an operation's parameters and bodies examples, where they have none.
func (m exampleMaker) complete(op *huma.Operation) {
	for _, p := range op.Parameters {
		describePattern(p.Schema)
		if p.Example == nil {
			p.Example = m.stated(p.Schema)
		}
		if common, ok := m.common[p.Name]; ok && p.Example == nil {
			p.Example = common
		}
	}
	if op.RequestBody != nil {
		if op.RequestBody.Content["application/json"] != nil {
			// huma adds this for handlers that hash what they were sent.
			delete(op.RequestBody.Content, "application/octet-stream")
		}
		m.fill(op.RequestBody.Content)
	}
	for _, response := range op.Responses {
		m.fill(response.Content)
	}
}

// fill gives the JSON media types without an example one.
func (m exampleMaker) fill(content map[string]*huma.MediaType) {
	for kind, media := range content {
		if media.Example != nil || len(media.Examples) > 0 || media.Schema == nil || !strings.HasSuffix(kind, "json") {
			continue
		}
		media.Example = m.of(media.Schema, nil)
	}
}

// stated is the example a field's declaration gives; nil when it gives none.
func (m exampleMaker) stated(schema *huma.Schema) any {
	switch {
	case schema == nil:
		return nil
	case schema.Ref != "":
		return m.stated(m.schemas.SchemaFromRef(schema.Ref))
	case len(schema.Examples) > 0:
		return schema.Examples[0]
	case schema.Default != nil:
		return schema.Default
	case len(schema.Enum) > 0:
		return schema.Enum[0]
	}
	return nil
}

// of makes an example of the schema. above are the types it is inside of, for those
// that hold others of their kind.
func (m exampleMaker) of(schema *huma.Schema, above []string) any {
	if schema.Ref != "" {
		if slices.Contains(above, schema.Ref) {
			return nil
		}
		return m.of(m.schemas.SchemaFromRef(schema.Ref), append(above, schema.Ref))
	}
	if example := m.stated(schema); example != nil {
		return example
	}
	switch schema.Type {
	case huma.TypeObject:
		object := map[string]any{}
		for name, property := range schema.Properties {
			if unhappy(name) && !slices.Contains(schema.Required, name) {
				continue
			}
			if value := m.of(property, above); value != nil {
				object[name] = value
			}
		}
		return object
	case huma.TypeArray:
		if item := m.of(schema.Items, above); item != nil {
			return []any{item}
		}
		return []any{}
	case huma.TypeBoolean:
		return false
	case huma.TypeInteger, huma.TypeNumber:
		if schema.Minimum != nil {
			return *schema.Minimum
		}
		return 1
	case huma.TypeString:
		if schema.Format == "date-time" {
			return exampleTime
		}
		return "text"
	}
	return nil
}

// unhappy fields are there when something went wrong, which in an example it did not.
func unhappy(name string) bool {
	switch name {
	case "error", "errorCode", "lastError", "diagnosis", "stale", "skipped", "reason":
		return true
	}
	return false
}

// documentErrorExamples are the errors as the document shows them, by their codes.
func documentErrorExamples() map[string]*huma.Example {
	examples := map[string]*huma.Example{}
	for code, message := range errorMessages() {
		value := map[string]any{"success": false, "error": code, "message": message, "timestamp": exampleTime}
		switch code {
		case models.CodeValidation:
			value["details"] = []map[string]any{{"field": "initFiles[3].path", "in": "body", "message": "must be relative, without a leading slash"}}
		case models.CodeTooLarge:
			value["details"] = map[string]any{"limitBytes": 26214400}
		case models.CodeQuotaExceeded:
			value["details"] = map[string]any{"quota": "deployments", "limit": 50, "used": 50, "resetsAt": "2025-08-01T00:00:00.000Z"}
		}
		examples[string(code)] = &huma.Example{Summary: http.StatusText(code.HTTPStatus()), Value: value}
	}
	return examples
}

// errorMessages gives a message that an answer with the code may carry.
func errorMessages() map[models.Code]string {
	return map[models.Code]string{
		models.CodeValidation:         "initFiles[3].path must be relative, without a leading slash",
		models.CodeUnauthorized:       "This route needs a token or a session: send `Authorization: Bearer <token>`, or sign in.",
		models.CodeForbidden:          "This needs the role developer in the organization; you have viewer.",
		models.CodeNotFound:           "There is no such route. GET / lists them.",
		models.CodeProjectNotFound:    `There is no project "prj_3kq5q2n7d4v6x2y7z3a4b5c6d7" in this organization.`,
		models.CodeDeploymentNotFound: `There is no deployment "dep_3kq5q2n7d4v6x2y7z3a4b5c6d7".`,
		models.CodeReleaseNotFound:    `There is no release "rel_3kq5q2n7d4v6x2y7z3a4b5c6d7" in this project.`,
		models.CodeBlobNotFound:       "There is no such file in this organization.",
		models.CodeMethodNotAllowed:   "This route does not answer DELETE.",
		models.CodeConflict:           "Something else changed it meanwhile; read it and try again.",
		models.CodeIdempotency:        "This Idempotency-Key came before with another body.",
		models.CodeNameTaken:          `The worker name "my-shop" is taken.`,
		models.CodeNotParked:          "Only a parked deployment can be retried or abandoned.",
		models.CodeNotRunning:         "The deployment has ended already.",
		models.CodeDomainUnavailable:  "This domain belongs to another project.",
		models.CodeQuotaExceeded:      "The organization has used its 50 deployments; the count starts again on 2025-08-01.",
		models.CodeTooLarge:           "The request body is larger than the 26214400 bytes allowed.",
		models.CodeUnsupportedMedia:   "Send the body as application/json.",
		models.CodeNotAcceptable:      "This route answers with application/json.",
		models.CodeRateLimited:        "Too many requests; try again in 5 seconds.",
		models.CodeDigestMismatch:     "The body does not have the digest in the path.",
		models.CodeNoSource:           "There are no files to deploy yet; send some as initFiles or files.",
		models.CodeBuildFailed:        "The build failed; its log says why.",
		models.CodeReleaseInvalid:     "The release cannot be brought live.",
		models.CodeDeploymentTimeout:  "The deployment took too long.",
		models.CodeCanceled:           "The deployment was canceled.",
		models.CodeSandbox:            "There is no room to build at the moment; try again in a moment.",
		models.CodeStorage:            "The file store does not answer; try again in a moment.",
		models.CodeDatabase:           "The database does not answer; try again in a moment.",
		models.CodeQueue:              "The queue does not answer; try again in a moment.",
		models.CodeRequestTimeout:     "The request body took too long to arrive.",
		models.CodeWorkerStart:        "The worker did not start.",
		models.CodeWorkerCrashed:      "The worker ended during the request.",
		models.CodeWorkerBusy:         "The worker has too many requests; try again in a moment.",
		models.CodeDomainNotFound:     `There is no domain "dom_3kq5q2n7d4v6x2y7z3a4b5c6d7" in this project.`,
		models.CodeVariableNotFound:   `There is no variable "API_KEY" in this environment.`,
		models.CodeRolloutNotFound:    `There is no rollout "rol_3kq5q2n7d4v6x2y7z3a4b5c6d7".`,

		models.CodeOrganizationNotFound: `There is no organization "org_3kq5q2n7d4v6x2y7z3a4b5c6d7" that you belong to.`,
		models.CodeMemberNotFound:       "There is no such member in this organization.",
		models.CodeInvitationNotFound:   "There is no such invitation, or it is no longer open.",
		models.CodeTokenNotFound:        "There is no such token in this organization.",
		models.CodeSessionNotFound:      "There is no such session.",
		models.CodeWebhookNotFound:      "There is no such webhook in this organization.",
		models.CodeDeliveryNotFound:     "There is no such delivery of this webhook.",
		models.CodeLastOwner:            "An organization needs an owner; make somebody else one first.",
		models.CodePreconditionFailed:   "It has changed since you read it; read it again and send its new ETag.",
		models.CodeCrossSite:            "This request came from the page of another site.",
		models.CodeAuthorizationPending: "Nobody has approved the device yet; ask again in a moment.",
		models.CodeSlowDown:             "Ask less often.",
		models.CodeAccessDenied:         "The device was refused.",
		models.CodeExpiredToken:         "The code has expired; start again.",

		models.CodeCertificate: "No certificate can be had at the moment; try again in a moment.",
		models.CodeDispatcher:  "The dispatcher does not answer; try again in a moment.",
		models.CodeInternal:    models.MessageOf(nil),
	}
}
