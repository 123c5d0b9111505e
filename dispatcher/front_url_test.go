package dispatcher

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPlainURL_isWhatIsParsed(t *testing.T) {
	for _, target := range []string{
		"/", "//", "/a", "//a/b", "/a.b-c_d/E9", "/?", "/??", "/?x=1", "/a?x=%zz&y=ü#", "/a?b?c", "/%41", "/a b", "/~", "/a;b", "/ü", "/a:b", "///x", "/a%2Fb?c",
	} {
		if plain := plainURL(target); plain != nil {
			parsed, err := url.ParseRequestURI(target)
			require.NoError(t, err, target)
			require.Equal(t, parsed, plain, target)
		}
	}
	require.NotNil(t, plainURL("/items/9?x=1"))
	require.Nil(t, plainURL("/%41"))
}
