package api

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/models"
)

func TestPageByName_goesOnAfterANameThatIsGone(t *testing.T) {
	itself := func(s string) string { return s }
	rows := func() []string { return []string{"d", "a-b", "a", "c", "a.b"} }
	cut, next, err := pageByName(rows(), NamePaging{Limit: 128}, itself)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "a-b", "a.b", "c", "d"}, cut)
	require.Empty(t, next)

	cut, next, err = pageByName(rows(), NamePaging{Limit: 2}, itself)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "a-b"}, cut)
	cut, next, err = pageByName([]string{"a", "a.b", "c", "d"}, NamePaging{Limit: 2, Cursor: next}, itself)
	require.NoError(t, err)
	require.Equal(t, []string{"a.b", "c"}, cut)
	cut, next, err = pageByName([]string{"a"}, NamePaging{Limit: 2, Cursor: next}, itself)
	require.NoError(t, err)
	require.Empty(t, cut)
	require.Empty(t, next)

	for _, cursor := range []string{"x", "!", encodeName(""), "MjphYg"} {
		_, _, err = pageByName(rows(), NamePaging{Limit: 2, Cursor: cursor}, itself)
		require.Equal(t, models.CodeValidation, models.CodeOf(err), cursor)
	}
}
