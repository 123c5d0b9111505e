package dispatcher

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/slipwayhq/slipway/assets"
	"github.com/slipwayhq/slipway/blob"
	"github.com/slipwayhq/slipway/edge"
	"github.com/slipwayhq/slipway/models"
)

// navigationFirst is the day from which a page is preferred to the worker when a
// browser navigates, and the flags that say so on any day. See
// https://developers.cloudflare.com/workers/configuration/compatibility-flags/#navigation-requests-prefer-asset-serving.
const (
	navigationFirst     = "2025-04-01"
	navigationFirstFlag = "assets_navigation_prefers_asset_serving"
	navigationLastFlag  = "assets_navigation_has_no_effect"
)

// sharing is how a release's worker and its files share the paths. See
// https://developers.cloudflare.com/workers/static-assets/routing/worker-script/.
type sharing struct {
	// workerFirst and filesOnly are the patterns of run_worker_first without and
	// with an exclamation mark.
	workerFirst, filesOnly []string
	// navigation says that not_found_handling answers a browser's navigation.
	navigation bool
}

func newSharing(bundle *models.WorkerBundle) *sharing {
	s := &sharing{navigation: bundle.CompatibilityDate >= navigationFirst || slices.Contains(bundle.CompatibilityFlags, navigationFirstFlag)}
	if slices.Contains(bundle.CompatibilityFlags, navigationLastFlag) {
		s.navigation = false
	}
	if bundle.Assets == nil {
		return s
	}
	for _, pattern := range bundle.Assets.RunWorkerFirst {
		if exception, ok := strings.CutPrefix(pattern, "!"); ok {
			s.filesOnly = append(s.filesOnly, exception)
		} else {
			s.workerFirst = append(s.workerFirst, pattern)
		}
	}
	return s
}

// owner is who answers a path.
type owner int

const (
	// filesFirst: a file answers, else the worker.
	filesFirst owner = iota
	// filesAlways: the files answer, not_found_handling included.
	filesAlways
	// workerAlways: the worker answers.
	workerAlways
)

// owner decides by the path as it was sent. A path in another spelling than a
// file's own never shows the file, so nothing can be read around a pattern.
func (s *sharing) owner(r *http.Request, path string) owner {
	switch {
	case matchesAny(s.filesOnly, path):
		return filesAlways
	case matchesAny(s.workerFirst, path):
		return workerAlways
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return workerAlways
	case s.navigation && len(r.Header["Sec-Fetch-Mode"]) == 1 && r.Header["Sec-Fetch-Mode"][0] == "navigate":
		return filesAlways
	}
	return filesFirst
}

func matchesAny(patterns []string, path string) bool {
	for _, pattern := range patterns {
		if matchGlob(pattern, path) {
			return true
		}
	}
	return false
}

// matchGlob matches a whole text; each * stands for any bytes, slashes too. It
// goes back to the last * only, so that its time is bounded by the product of
// the lengths.
func matchGlob(pattern, text string) bool {
	p, t := 0, 0
	star, resume := -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, resume = p, t
			p++
		case p < len(pattern) && pattern[p] == text[t]:
			p++
			t++
		case star >= 0:
			resume++
			p, t = star+1, resume
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// sharing reads how a release with server code shares its paths.
func (c *releases) sharing(ctx context.Context, route *models.Route) (*sharing, error) {
	key := blob.Key{Scope: route.OrganizationID, Digest: route.WorkerDigest}
	if kept, ok := c.shared.get(key); ok {
		return kept, nil
	}
	return once(ctx, &c.loads, key, func(ctx context.Context) (*sharing, error) {
		if kept, ok := c.shared.get(key); ok {
			return kept, nil // was read for others meanwhile
		}
		data, err := fetch(ctx, c.blobs, key, models.MaxWorkerBundle)
		if err != nil {
			return nil, fmt.Errorf("read worker bundle %s: %w", key, err)
		}
		bundle, err := models.DecodeWorkerBundle(data)
		if err != nil {
			return nil, fmt.Errorf("worker bundle %s: %w", key, err)
		}
		loaded := newSharing(bundle)
		c.shared.add(key, loaded, itemOverhead+int64(len(data)))
		return loaded, nil
	})
}

// serveHybrid answers for a release with server code.
func (d *Dispatcher) serveHybrid(x *exchange, target target, route *models.Route, release *release) {
	sharing, err := d.releases.sharing(x.r.Context(), route)
	if err != nil {
		d.failInternal(x, err)
		return
	}
	owner := sharing.owner(x.r, target.path)
	if owner == workerAlways {
		d.serveWorker(x, target, route)
		return
	}
	answer := release.site.Plan(d.fileRequest(x.r, target, owner == filesFirst))
	if answer.Missing && !matchesAny(sharing.filesOnly, target.path) {
		d.serveWorker(x, target, route)
		return
	}
	d.serveAnswer(x, target, release, answer)
}

func (d *Dispatcher) fileRequest(r *http.Request, target target, filesOnly bool) assets.Request {
	return assets.Request{Method: r.Method, Host: target.host, Path: target.path, Query: target.query, Header: r.Header, FilesOnly: filesOnly}
}

// Assets answers from the files of a release, for its ASSETS binding: by path
// and headers, whatever the host. What no file answers is 404 without a body.
func (d *Dispatcher) Assets(ctx context.Context, r edge.Release) (http.Handler, error) {
	release, err := d.releases.get(ctx, &models.Route{OrganizationID: r.OrganizationID, ManifestDigest: r.ManifestDigest})
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		x := exchange{w: w, r: request, requestID: requestID(request), worker: r.WorkerName, releaseID: r.ID}
		defer d.recovered(&x)
		t := target{kind: targetTenant, name: r.WorkerName}
		t.host, _ = cutPort(request.Host)
		t.path, t.query = rawTarget(request)
		answer := release.site.Plan(d.fileRequest(request, t, false))
		answer.Missing = false // a page of ours would be taken for the site's
		d.serveAnswer(&x, t, release, answer)
	}), nil
}
