package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/slipwayhq/slipway/config"
)

func TestParse_emptyEnvironmentGivesTheDocumentedDefaults(t *testing.T) {
	c, err := config.Parse(map[string]string{})
	require.NoError(t, err)
	require.Equal(t, "deployment-queue", c.Temporal.Queue)
	require.Equal(t, 10*time.Minute, c.Deploy.MaxTimeout())
	require.Equal(t, 5, c.Deploy.MaxConcurrent)
	require.Equal(t, "oci", c.Sandbox.Provider)
	require.Equal(t, int64(25<<20), c.API.MaxBody)
	require.Contains(t, c.Dispatch.ReservedNames(), "www")
}

func TestParse_namesEverySettingThatIsWrong(t *testing.T) {
	_, err := config.Parse(map[string]string{
		"LOG_LEVEL": "loud", "MAX_DEPLOYMENT_TIMEOUT": "10", "MAX_CONCURRENT_DEPLOYMENTS": "0",
		"SANDBOX_UID_BASE": "0", "SANDBOX_BUILDER_DEFAULT_PROVIDER": "daytona",
	})
	require.Error(t, err)
	for _, name := range []string{"LOG_LEVEL", "MAX_DEPLOYMENT_TIMEOUT", "MAX_CONCURRENT_DEPLOYMENTS", "SANDBOX_UID_BASE", "SANDBOX_BUILDER_DEFAULT_PROVIDER"} {
		require.Contains(t, err.Error(), name)
	}
}

func TestParse_unreadableNumberIsNamed(t *testing.T) {
	_, err := config.Parse(map[string]string{"MAX_CONCURRENT_DEPLOYMENTS": "many"})
	require.Error(t, err)
	require.True(t, strings.Contains(err.Error(), "MaxConcurrent") || strings.Contains(err.Error(), "MAX_CONCURRENT"), err.Error())
}

func TestDispatch_SiteURLNamesThePortOnlyWhenThereIsOne(t *testing.T) {
	d := config.Dispatch{Scheme: "http", Domain: "localhost", Port: 3005}
	require.Equal(t, "http://site.localhost:3005/", d.SiteURL("site"))
	require.Equal(t, "https://site.example.com/", config.Dispatch{Scheme: "https", Domain: "example.com"}.SiteURL("site"))
}
