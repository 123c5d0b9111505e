package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/minio/minio-go/v7"

	"github.com/slipwayhq/slipway/models"
)

// fault turns a failed request into CodeStorage with what to check, or into ctx's
// error when the caller gave up.
func fault(ctx context.Context, err error) error {
	if ctxErr := ctx.Err(); ctxErr != nil {
		return fmt.Errorf("blob storage: %w", ctxErr)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		// Our own time limit. The caller's deadline did not pass and must not seem to.
		err = errors.New("no answer in time")
	}
	return models.Wrap(models.CodeStorage, err, advice(err))
}

func advice(err error) string {
	response, answered := errors.AsType[minio.ErrorResponse](err)
	switch {
	case !answered || response.StatusCode == 0:
		return "Blob storage does not answer. Check that the S3 service runs, and S3_ENDPOINT and S3_USE_SSL."
	case response.Code == minio.NoSuchBucket:
		return "Blob storage has no such bucket. Create it, or check S3_BUCKET."
	case response.Code == "RequestTimeTooSkewed":
		return "Blob storage refused the request for its time. Set this machine's clock."
	case isRefused(err):
		return "Blob storage refused the credentials. Check S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and their permissions on the bucket."
	case response.StatusCode >= http.StatusInternalServerError:
		return fmt.Sprintf("Blob storage failed with status %d. Check the health and the free space of the S3 service.", response.StatusCode)
	}
	return fmt.Sprintf("Blob storage refused the request (%s). Check S3_ENDPOINT, S3_REGION, S3_BUCKET, S3_PATH_STYLE and S3_ACCESS_KEY_ID.", response.Code)
}

func isNotFound(err error) bool { return hasCode(err, minio.NoSuchKey, "NotFound", "NoSuchVersion") }

func isUploadGone(err error) bool { return hasCode(err, minio.NoSuchUpload) }

func isAlreadyMade(err error) bool {
	return hasCode(err, "BucketAlreadyOwnedByYou", "BucketAlreadyExists")
}

func isRefused(err error) bool {
	response, ok := errors.AsType[minio.ErrorResponse](err)
	return ok && (response.StatusCode == http.StatusForbidden || response.StatusCode == http.StatusUnauthorized)
}

func isRangeBeyondEnd(err error) bool {
	response, ok := errors.AsType[minio.ErrorResponse](err)
	return ok && response.StatusCode == http.StatusRequestedRangeNotSatisfiable
}

func hasCode(err error, codes ...string) bool {
	response, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok {
		return false
	}
	for _, code := range codes {
		if response.Code == code {
			return true
		}
	}
	return false
}
