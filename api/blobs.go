package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humagin"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

// MissingRequest is the body of POST /blobs/missing.
type MissingRequest struct {
	SHA256 []string `json:"sha256" nullable:"false" doc:"Digests of the files to deploy, 64 lower-case hexadecimal digits each" example:"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"`
}

// MissingAnswer names what has to be uploaded.
type MissingAnswer struct {
	Missing []string `json:"missing" nullable:"false" doc:"Those the organization has no blob for, each once, in the order given" example:"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"`
}

// Blob says what was stored.
type Blob struct {
	SHA256 string `json:"sha256" doc:"Digest of the content"`
	Size   int64  `json:"size" doc:"Its length in bytes"`
}

type missingInput struct{ Body MissingRequest }

type missingOutput struct{ Body MissingAnswer }

type putBlobInput struct {
	SHA256 string `path:"sha256" pattern:"^[0-9a-f]{64}$" patternDescription:"64 lower-case hexadecimal digits" doc:"Digest of the body"`
}

type putBlobOutput struct{ Body Blob }

func (s *Server) registerBlobs() {
	limits := s.opts.Limits
	register(s, route{
		id: "missing-blobs", method: http.MethodPost, path: "/blobs/missing", tag: "Blobs",
		summary:     "Which files have to be uploaded",
		description: fmt.Sprintf("Takes at most %d digests. What is not missing is kept for some hours, so that it can be deployed.", limits.Files),
		// 64 digits, quotes, a comma and some white space each.
		maxBody: int64(limits.Files)*96 + 4096, errors: []models.Code{models.CodeStorage},
	}, s.missingBlobs)
	register(s, route{
		id: "put-blob", method: http.MethodPut, path: "/blobs/{sha256}", tag: "Blobs",
		summary: "Upload a file",
		description: fmt.Sprintf("The body is the file, at most %d bytes; it is stored when it has the digest in the path. "+
			"Uploading what is there already is a success. Files are never visible to other organizations.", limits.FileBytes),
		maxBody: limits.FileBytes, errors: []models.Code{models.CodeDigestMismatch, models.CodeStorage},
		stream: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		}},
	}, s.putBlob)
}

func (s *Server) missingBlobs(ctx context.Context, in *missingInput) (*missingOutput, error) {
	if limit := s.opts.Limits.Files; len(in.Body.SHA256) > limit {
		return nil, models.Errorf(models.CodeTooLarge, "The request has %d digests; it may have %d.", len(in.Body.SHA256), limit).
			WithDetails([]FieldError{{Field: "sha256", In: "body", Message: fmt.Sprintf("must have at most %d digests", limit)}})
	}
	var fields []FieldError
	for i, digest := range in.Body.SHA256 {
		if blob.ValidateDigest(digest) != nil {
			fields = append(fields, FieldError{Field: fmt.Sprintf("sha256[%d]", i), In: "body", Message: "must be 64 lower-case hexadecimal digits"})
		}
	}
	if err := invalid(fields); err != nil {
		return nil, err
	}
	missing, err := blob.Missing(ctx, s.opts.Blobs, identityOf(ctx).OrganizationID, in.Body.SHA256)
	if err != nil {
		return nil, err
	}
	return &missingOutput{MissingAnswer{missing}}, nil
}

// withBody hands the body to a handler that streams it.
func withBody(ctx huma.Context, next func(huma.Context)) {
	next(huma.WithValue(ctx, bodyKey, humagin.Unwrap(ctx).Request))
}

func (s *Server) putBlob(ctx context.Context, in *putBlobInput) (*putBlobOutput, error) {
	request, ok := ctx.Value(bodyKey).(*http.Request)
	if !ok {
		return nil, errors.New("the route lacks its body")
	}
	body := &countingReader{r: http.MaxBytesReader(nil, request.Body, s.opts.Limits.FileBytes)}
	key := blob.Key{Scope: identityOf(ctx).OrganizationID, Digest: in.SHA256}
	err := s.opts.Blobs.Put(ctx, key, request.ContentLength, body)
	if err == nil {
		// A store that has the object already need not read the body, but a
		// client in the midst of sending it would not see the answer.
		_, err = io.Copy(io.Discard, body)
	}
	if err != nil {
		return nil, uploadError(err)
	}
	return &putBlobOutput{Blob{SHA256: in.SHA256, Size: body.n}}, nil
}

// uploadError tells failures of the caller's connection from the store's.
func uploadError(err error) error {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() && models.CodeOf(err) == models.CodeInternal {
		return models.Wrap(models.CodeRequestTimeout, err, "The request body took too long to arrive.")
	}
	return err
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
