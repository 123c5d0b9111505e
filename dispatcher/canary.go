package dispatcher

import (
	"hash/fnv"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

const (
	// bucketCookie keeps a visitor at the release it was given during a rollout.
	// It is ours: workers never see it.
	bucketCookie = "slipway_bucket"
	// bucketDay is how long a visitor is remembered after the last answer that
	// set the cookie, in seconds.
	bucketDay = "86400"
	buckets   = 100
)

// choose gives a visitor one of a route's two releases. Visitors are in buckets
// 0 to 99, the canary has those below its percentage, so that raising it only
// adds visitors and nobody goes back and forth.
func (d *Dispatcher) choose(x *exchange, target target, route *models.Route) *models.Route {
	bucket, sent := -1, false
	if target.prefix == "" {
		bucket, sent = sentBucket(x.r.Header["Cookie"])
	}
	if !sent {
		bucket = addressBucket(route.ProjectID, clientAddress(x.r))
	}
	x.rollout = &rollout{cookie: target.prefix == "" && !sent, bucket: bucket}
	if bucket < route.CanaryPercent {
		route = canaryOf(route)
	}
	x.rollout.releaseID = route.ReleaseID
	d.counts.request(route.ReleaseID)
	return route
}

// canaryOf is the route as the canary's visitors have it.
func canaryOf(route *models.Route) *models.Route {
	canary := *route
	canary.ReleaseID, canary.ManifestDigest, canary.WorkerDigest = route.CanaryReleaseID, route.CanaryManifestDigest, route.CanaryWorkerDigest
	return &canary
}

// rollout is what an answer has to do with a rollout under way.
type rollout struct {
	releaseID string
	bucket    int
	// cookie says that the visitor is to be given one.
	cookie bool
	// broke says that the answer broke off on the release's side.
	broke bool
}

// breakOff notes that the answer broke off. nil does nothing.
func (r *rollout) breakOff() {
	if r != nil {
		r.broke = true
	}
}

// sentBucket reads the cookie; a value that is no bucket is no cookie.
func sentBucket(cookies []string) (bucket int, ok bool) {
	for _, line := range cookies {
		for pair := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
			if name != bucketCookie || value == "" || len(value) > 2 || !isDigit(value[0]) || !isDigit(value[len(value)-1]) {
				continue
			}
			bucket, _ = strconv.Atoi(value)
			return bucket, true
		}
	}
	return 0, false
}

// addressBucket is the same at every dispatcher and another for every project.
func addressBucket(projectID, address string) int {
	hash := fnv.New64a()
	_, _ = io.WriteString(hash, projectID)
	_, _ = io.WriteString(hash, " ")
	_, _ = io.WriteString(hash, address)
	// Neighbouring addresses differ in a few low bits of the hash; this spreads
	// them (the finalizer of MurmurHash3).
	sum := hash.Sum64()
	sum = (sum ^ sum>>33) * 0xff51afd7ed558ccd
	sum = (sum ^ sum>>33) * 0xc4ceb9fe1a85ec53
	return int((sum ^ sum>>33) % buckets)
}

// apply changes the header of an answer that belongs to a rollout, just before
// it is sent. nil does nothing.
func (r *rollout) apply(header http.Header, encrypted bool) {
	if r == nil {
		return
	}
	keepPrivate(header)
	if !r.cookie {
		return
	}
	cookie := bucketCookie + "=" + strconv.Itoa(r.bucket) + "; Path=/; Max-Age=" + bucketDay + "; HttpOnly; SameSite=Lax"
	if encrypted {
		cookie += "; Secure"
	}
	header["Set-Cookie"] = append(slices.Clip(header["Set-Cookie"]), cookie)
}

// keepPrivate keeps shared caches from giving one visitor's release to another.
// Vary could not do that, since a first visit has no cookie.
func keepPrivate(header http.Header) {
	for _, name := range sharedCacheHeaders {
		delete(header, name)
	}
	directives := []string{"private"}
	for _, line := range header["Cache-Control"] {
		for directive := range strings.SplitSeq(line, ",") {
			directive = strings.TrimSpace(directive)
			name, _, _ := strings.Cut(directive, "=")
			switch strings.ToLower(name) {
			case "", "public", "private", "s-maxage", "proxy-revalidate":
			default:
				directives = append(directives, directive)
			}
		}
	}
	header["Cache-Control"] = []string{strings.Join(directives, ", ")}
}

// sharedCacheHeaders are Cache-Control for shared caches alone (RFC 9213).
var sharedCacheHeaders = []string{"Cdn-Cache-Control", "Cloudflare-Cdn-Cache-Control", "Surrogate-Control"}

// dropBucket takes our cookie out of a request, which a browser still sends for
// a while when the rollout has ended.
func dropBucket(header http.Header) {
	lines := header["Cookie"]
	if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, bucketCookie) }) {
		return
	}
	var kept []string
	for _, line := range lines {
		var pairs []string
		for pair := range strings.SplitSeq(line, ";") {
			name, _, _ := strings.Cut(pair, "=")
			if strings.TrimSpace(name) != bucketCookie {
				pairs = append(pairs, pair)
			}
		}
		if rest := strings.TrimLeft(strings.Join(pairs, ";"), " "); rest != "" {
			kept = append(kept, rest)
		}
	}
	if kept == nil {
		delete(header, "Cookie")
		return
	}
	header["Cookie"] = kept
}
