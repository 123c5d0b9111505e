package api

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestCheckHost_givesOneFormOfAName(t *testing.T) {
	for in, want := range map[string]string{
		"Example.COM": "example.com", "example.com.": "example.com", "bücher.example": "xn--bcher-kva.example",
		"xn--bcher-kva.example": "xn--bcher-kva.example", "a.b.c.example": "a.b.c.example", "1.example": "1.example",
	} {
		got, problem := checkHost(in, "slipway.test")
		require.Empty(t, problem, in)
		require.Equal(t, want, got)
	}
	for _, in := range []string{
		"", ".", "com", "a b.com", "http://a.com", "a.com/x", "a.com:1", "*.a.com", "1.2.3.4", "::1", "1.2.3", "0x7f.1", "-a.com", "a-.com",
		"a..com", ".a.com", strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 130) + "com", "slipway.test", "x.SLIPWAY.test", "localhost",
		"x.localhost.", "a_b.com", "a\x00.com", "ａ．localhost",
	} {
		_, problem := checkHost(in, "slipway.test")
		require.NotEmpty(t, problem, in)
	}
}

func TestSlug_isAWorkerNameOrNothing(t *testing.T) {
	for in, want := range map[string]string{
		"Hello World": "hello-world", "--a--b--": "a-b", "ÄÖ": "", "a": "a", "x_y.z": "x-y-z", "": "",
	} {
		require.Equal(t, want, slug(in))
	}
	require.NoError(t, models.ValidateNewWorkerName(slug(strings.Repeat("ab-", 40))+"-00000000", nil))
}

func TestErrors_aStatusIsAlwaysTheCodes(t *testing.T) {
	for status, code := range map[int]models.Code{
		400: models.CodeValidation, 422: models.CodeValidation, 413: models.CodeTooLarge, 415: models.CodeUnsupportedMedia,
		408: models.CodeRequestTimeout, 406: models.CodeNotAcceptable, 500: models.CodeInternal, 0: models.CodeInternal,
	} {
		answer := humaError(status, "validation failed", nil)
		require.Equal(t, code, answer.Code)
		require.Equal(t, code.HTTPStatus(), answer.GetStatus())
	}
}
