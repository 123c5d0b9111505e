package api

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/models"
)

// checkDeploy refuses what no schema can say and normalizes the rest. It returns
// the bytes of the initFiles, in their order.
func (s *Server) checkDeploy(req *DeployRequest) ([][]byte, error) {
	limits := s.opts.Limits
	if req.Priority == 0 {
		req.Priority = defaultPriority
	}
	for _, list := range []struct {
		name  string
		count int
	}{{"initFiles", len(req.InitFiles)}, {"files", len(req.Files)}} {
		if list.count > limits.Files {
			return nil, models.Errorf(models.CodeTooLarge, "%s has %d files; a request may bring %d.", list.name, list.count, limits.Files).
				WithDetails([]FieldError{{Field: list.name, In: "body", Message: fmt.Sprintf("must have at most %d files", limits.Files)}})
		}
	}
	var fields []FieldError
	if len(req.InitFiles) > 0 && len(req.Files) > 0 {
		fields = append(fields, FieldError{Field: "files", In: "body", Message: "cannot come together with initFiles: initFiles adds to the project's source, files replaces it"})
	}
	if req.Files != nil && len(req.Files) == 0 && len(req.InitFiles) == 0 {
		fields = append(fields, FieldError{Field: "files", In: "body", Message: "must list at least one file; leave it out to deploy the latest source again"})
	}
	if req.CustomDomain != "" {
		host, problem := checkHost(req.CustomDomain, s.opts.Domain)
		if problem != "" {
			fields = append(fields, FieldError{Field: "customDomain", In: "body", Message: problem})
		}
		req.CustomDomain = host
	}

	contents := make([][]byte, len(req.InitFiles))
	paths := make([]string, 0, len(req.InitFiles)+len(req.Files))
	for i, file := range req.InitFiles {
		paths = append(paths, file.Path)
		contents[i] = []byte(file.Content)
		if file.Encoding == "base64" {
			decoded, err := base64.StdEncoding.Strict().DecodeString(file.Content)
			if err != nil {
				fields = append(fields, FieldError{Field: fmt.Sprintf("initFiles[%d].content", i), In: "body", Message: "must be base64 with padding (RFC 4648 §4)"})
			}
			contents[i] = decoded
		}
		if int64(len(contents[i])) > limits.FileBytes {
			return nil, models.Errorf(models.CodeTooLarge, "initFiles[%d] has %d bytes; a file may have %d.", i, len(contents[i]), limits.FileBytes).
				WithDetails([]FieldError{{Field: fmt.Sprintf("initFiles[%d].content", i), In: "body", Message: fmt.Sprintf("must be %d bytes or less", limits.FileBytes)}})
		}
	}
	fields = append(fields, checkPaths("initFiles", paths, limits.PathBytes)...)

	paths = paths[:0]
	for i, file := range req.Files {
		paths = append(paths, file.Path)
		if file.Mode != 0 && file.Mode != 0o644 && file.Mode != 0o755 {
			fields = append(fields, FieldError{Field: fmt.Sprintf("files[%d].mode", i), In: "body", Message: "must be 420 (0644) or 493 (0755)"})
		}
	}
	fields = append(fields, checkPaths("files", paths, limits.PathBytes)...)
	return contents, invalid(fields)
}

// checkPaths finds bad paths, paths that are there twice (also when only their
// case differs), and files that another file would have to be inside of.
func checkPaths(list string, paths []string, maxBytes int) []FieldError {
	var fields []FieldError
	report := func(i int, message string) {
		fields = append(fields, FieldError{Field: fmt.Sprintf("%s[%d].path", list, i), In: "body", Message: message})
	}
	first := make(map[string]int, len(paths))
	good := make([]bool, len(paths))
	for i, path := range paths {
		if problem := models.CheckPath(path, maxBytes); problem != "" {
			report(i, problem)
			continue
		}
		folded := models.FoldPath(path)
		at, seen := first[folded]
		switch {
		case !seen:
			first[folded] = i
			good[i] = true
		case paths[at] == path:
			report(i, fmt.Sprintf("is the same as %s[%d].path", list, at))
		default:
			report(i, fmt.Sprintf("differs only by case from %s[%d].path", list, at))
		}
	}
	for i, path := range paths {
		if !good[i] {
			continue
		}
		folded := models.FoldPath(path)
		for at := strings.IndexByte(folded, '/'); at >= 0; {
			if file, is := first[folded[:at]]; is {
				report(i, fmt.Sprintf("is inside %s[%d].path, which is a file", list, file))
				break
			}
			next := strings.IndexByte(folded[at+1:], '/')
			if next < 0 {
				break
			}
			at += 1 + next
		}
	}
	return fields
}

// findUploaded looks each file's blob up in the organization's store and says
// which are not there.
func (s *Server) findUploaded(ctx context.Context, scope string, files []FileReference) ([]models.File, error) {
	digests := make([]string, len(files))
	for i, file := range files {
		digests[i] = file.SHA256
	}
	objects, err := blob.Find(ctx, s.opts.Blobs, scope, digests)
	if err != nil {
		return nil, err
	}
	found := make([]models.File, len(files))
	var fields []FieldError
	for i, file := range files {
		object, there := objects[file.SHA256]
		problem := ""
		switch {
		case !there:
			problem = fmt.Sprintf("is missing: PUT /blobs/%s first", file.SHA256)
		case object.Size > s.opts.Limits.FileBytes:
			problem = fmt.Sprintf("names %d bytes; a file may have %d", object.Size, s.opts.Limits.FileBytes)
		}
		if problem != "" {
			fields = append(fields, FieldError{Field: fmt.Sprintf("files[%d].sha256", i), In: "body", Message: problem})
		}
		found[i] = models.File{Path: file.Path, Digest: file.SHA256, Size: object.Size, Mode: file.Mode}
	}
	return found, invalid(fields)
}
