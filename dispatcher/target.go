package dispatcher

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/slipwayhq/slipway/models"
)

type targetKind int

const (
	// targetOwn is the dispatcher itself.
	targetOwn targetKind = iota
	// targetTenant is a worker or a custom host.
	targetTenant
	// targetInvalid can be nobody's.
	targetInvalid
)

// target is whose path space a request is in, and where in it.
type target struct {
	kind targetKind
	// key is the route's.
	key string
	// name is the worker name or custom host, as looked up.
	name string
	// path and query are the request's as the tenant sees them: bytes as sent,
	// never decoded or cleaned.
	path, query string
	// host is the request's host without a port.
	host string
	// prefix is what path routing put before path. It marks tenant content on
	// the dispatcher's own host, which is not trusted with it.
	prefix string
	// ours says that the host is under the platform's own domain.
	ours bool
	// detail says why the target is invalid.
	detail string
}

// hosts tells the dispatcher's own hosts from its tenants'.
type hosts struct {
	suffix   string
	own      map[string]bool
	reserved []string
}

func newHosts(domain string, own, reserved []string) hosts {
	h := hosts{
		suffix:   "." + domain,
		own:      map[string]bool{domain: true, "dispatcher." + domain: true, "localhost": true},
		reserved: reserved,
	}
	for _, hostport := range own {
		if host, ok := cutPort(strings.TrimSpace(hostport)); ok {
			h.own[strings.ToLower(strings.TrimSuffix(host, "."))] = true
		}
	}
	return h
}

// target classifies by host first, then by path: a tenant host owns its whole
// path space, and /dispatch exists only on the dispatcher's own hosts.
func (h *hosts) target(r *http.Request) target {
	t := h.hostTarget(r.Host)
	t.path, t.query = rawTarget(r)
	if t.kind == targetOwn {
		return h.pathTarget(t)
	}
	return t
}

func (h *hosts) hostTarget(hostport string) target {
	host, ok := cutPort(hostport)
	if !ok {
		return target{kind: targetInvalid, detail: "The Host header is not a host name"}
	}
	host = models.FoldWorkerName(strings.TrimSuffix(host, "."))
	label, underDomain := strings.CutSuffix(host, h.suffix)
	if h.own[host] {
		return target{kind: targetOwn, host: host}
	}
	if underDomain {
		return h.workerTarget(label, host)
	}
	if isAddress(host) {
		// Probes and load balancers ask by address, which no tenant can own.
		return target{kind: targetOwn, host: host}
	}
	if !validHost(host) {
		return target{kind: targetInvalid, detail: "The Host header is not a host name"}
	}
	return target{kind: targetTenant, key: models.HostRouteKey(host), name: host, host: host}
}

func (h *hosts) workerTarget(name, host string) target {
	if err := models.ValidateWorkerName(name, h.reserved); err != nil {
		return target{kind: targetInvalid, host: host, detail: models.MessageOf(err)}
	}
	name = models.FoldWorkerName(name)
	return target{kind: targetTenant, key: models.WorkerRouteKey(name), name: name, host: host, ours: true}
}

// pathTarget finds path and query routing on an own host:
// /dispatch/{worker}/…, /api/dispatch/{worker}/… and /dispatch?worker={worker}.
func (h *hosts) pathTarget(own target) target {
	base := "/dispatch"
	rest, ok := strings.CutPrefix(own.path, base)
	if !ok {
		base = "/api/dispatch"
		rest, ok = strings.CutPrefix(own.path, base)
	}
	switch {
	case !ok || (rest != "" && rest[0] != '/'):
		return own
	case rest == "" || rest == "/":
		worker, query, asked := cutWorkerParam(own.query)
		if !asked {
			return own
		}
		t := h.workerTarget(worker, own.host)
		t.path, t.query, t.prefix = "/", query, base+"/"+worker
		return t
	}
	worker, path, slash := strings.Cut(rest[1:], "/")
	t := h.workerTarget(worker, own.host)
	t.path, t.query, t.prefix = "/", own.query, base+"/"+worker
	if slash {
		t.path = "/" + path
	}
	return t
}

// cutWorkerParam takes worker out of a query and leaves every other parameter
// byte for byte. The first one counts; the others go too.
func cutWorkerParam(query string) (worker, rest string, found bool) {
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(name); err != nil || decoded != "worker" {
			if pair != "" {
				kept = append(kept, pair)
			}
			continue
		}
		if !found {
			found = true
			if worker, _ = url.QueryUnescape(value); worker == "" {
				worker = value
			}
		}
	}
	return worker, strings.Join(kept, "&"), found
}

// rawTarget gives the request target's path and query as they were sent. The
// URL that net/http parsed is not used, because it has been decoded and an
// encoded slash could not be told from a plain one.
func rawTarget(r *http.Request) (path, query string) {
	uri := r.RequestURI
	if uri == "" {
		uri = r.URL.RequestURI()
	}
	if uri[0] != '/' {
		// Absolute form, http://host/path; net/http took Host from it.
		if at := strings.Index(uri, "://"); at >= 0 {
			uri = uri[at+3:]
			if slash := strings.IndexAny(uri, "/?"); slash >= 0 {
				uri = uri[slash:]
			} else {
				uri = "/"
			}
		}
	}
	path, query, _ = strings.Cut(uri, "?")
	if path == "" || path[0] != '/' {
		path = "/" + path
	}
	return path, query
}

// cutPort removes a port. Not ok means that the header holds no host.
func cutPort(hostport string) (host string, ok bool) {
	if strings.HasPrefix(hostport, "[") {
		end := strings.IndexByte(hostport, ']')
		if end < 0 {
			return "", false
		}
		host, port := hostport[1:end], hostport[end+1:]
		// Brackets are for IPv6 addresses and nothing else (RFC 3986 §3.2.2).
		return host, strings.Contains(host, ":") && isAddress(host) && (port == "" || (port[0] == ':' && isPort(port[1:])))
	}
	host, port, found := strings.Cut(hostport, ":")
	return host, host != "" && (!found || isPort(port))
}

// isPort accepts an empty port too, which RFC 3986 allows.
func isPort(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] < '0' || text[i] > '9' {
			return false
		}
	}
	return len(text) < 5 || len(text) == 5 && text <= "65535"
}

func isAddress(host string) bool {
	if host == "" || (host[0] > '9' && !strings.Contains(host, ":")) {
		return false
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

// validHost accepts lower-case host names of LDH labels, 253 bytes at most.
func validHost(host string) bool {
	if host == "" || len(host) > 253 {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := 0; i < len(label); i++ {
			c := label[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}
