package assets

import "strings"

// Outcome is what a path comes to.
type Outcome int

// The three outcomes.
const (
	NotFound Outcome = iota
	Serve
	RedirectTo
)

// Decision is what html_handling and not_found_handling make of a path.
type Decision struct {
	Outcome Outcome
	// File is the path of the file to serve.
	File string
	// Fallback says that the file stands in for one that is not there.
	Fallback bool
	// Status is 200, 307 or 404.
	Status int
	// Location is an encoded path on the same origin. It starts with one slash.
	Location string
}

// Match decides what a request path, still percent-encoded, comes to. It does
// not look at _redirects.
func (s *Site) Match(requestPath string) Decision {
	if len(s.assets) == 0 {
		return Decision{Outcome: NotFound, Status: 404} // a worker without files is asked about each request
	}
	path := normalizePath(requestPath)
	decoded, ok := decodePath(path)
	if !ok {
		return s.fallback("/")
	}
	decision := s.resolve(decoded)
	switch decision.Outcome {
	case RedirectTo:
		decision.Location = encodePath(decision.Location)
	case Serve:
		// A file answers at one spelling of its path only, so that caches
		// and relative links see one.
		if canonical := encodePath(decoded); canonical != path {
			return Decision{Outcome: RedirectTo, Status: 307, Location: canonical}
		}
	default:
		return s.fallback(decoded)
	}
	return decision
}

// resolve applies html_handling to a decoded path.
//
// A page x can be stored as x.html or as x/index.html, and can be asked for in
// five forms: x, x/, x.html, x/index, x/index.html. Each mode gives each stored
// form one address (address); any other form is redirected there, provided that
// the address really leads back to that file and not to another one.
func (s *Site) resolve(path string) Decision {
	if s.config.HTMLHandling == ExactHTML {
		return s.serveExact(path)
	}
	switch {
	case strings.HasSuffix(path, "/index"):
		if s.has(path) {
			return serve(path)
		}
		if d := s.redirectToPage(strings.TrimSuffix(path, "/index"), true); d.Outcome != NotFound {
			return d
		}
	case strings.HasSuffix(path, "/index.html"):
		if d := s.redirectHTML(path, strings.TrimSuffix(path, "/index.html"), true); d.Outcome != NotFound {
			return d
		}
	case strings.HasSuffix(path, "/"):
		if file, ok := s.at(path); ok {
			return serve(file)
		}
		if path != "/" {
			if d := s.redirectToPage(strings.TrimSuffix(path, "/"), true); d.Outcome != NotFound {
				return d
			}
		}
		return Decision{}
	case strings.HasSuffix(path, ".html"):
		if d := s.redirectHTML(path, strings.TrimSuffix(path, ".html"), false); d.Outcome != NotFound {
			return d
		}
	}
	if file, ok := s.at(path); ok {
		return serve(file)
	}
	return s.redirectToPage(path, false)
}

// redirectHTML answers a request that spells out a stored file's name: by its
// address, else by itself, else by the page's other stored form.
func (s *Site) redirectHTML(path, page string, directoryFirst bool) Decision {
	if s.has(path) {
		if d := s.redirectToFile(path); d.Outcome != NotFound {
			return d
		}
		return serve(path)
	}
	return s.redirectToPage(page, directoryFirst)
}

// redirectToPage redirects to the first of a page's stored forms that has an address.
func (s *Site) redirectToPage(page string, directoryFirst bool) Decision {
	forms := [2]string{page + ".html", page + "/index.html"}
	if directoryFirst {
		forms[0], forms[1] = forms[1], forms[0]
	}
	for _, file := range forms {
		if d := s.redirectToFile(file); d.Outcome != NotFound {
			return d
		}
	}
	return Decision{}
}

func (s *Site) redirectToFile(file string) Decision {
	if !s.has(file) {
		return Decision{}
	}
	address := s.address(file)
	if found, ok := s.at(address); !ok || found != file {
		return Decision{}
	}
	return Decision{Outcome: RedirectTo, Status: 307, Location: address}
}

// address is where an HTML file should answer in this mode.
func (s *Site) address(file string) string {
	page, directory := strings.CutSuffix(file, "/index.html")
	if !directory {
		page = strings.TrimSuffix(file, ".html")
	}
	switch {
	case page == "":
		return "/"
	case s.config.HTMLHandling == ForceTrailingSlash,
		s.config.HTMLHandling == AutoTrailingSlash && directory:
		return page + "/"
	default:
		return page
	}
}

// at finds the file that answers a path as it stands, without a redirect.
func (s *Site) at(path string) (string, bool) {
	mode := s.config.HTMLHandling
	if page, slash := strings.CutSuffix(path, "/"); slash {
		if mode != DropTrailingSlash || page == "" {
			if file := path + "index.html"; s.has(file) {
				return file, true
			}
		}
		if file := page + ".html"; mode == ForceTrailingSlash && s.has(file) {
			return file, true
		}
		return "", false
	}
	if s.has(path) {
		return path, true
	}
	if file := path + ".html"; mode != ForceTrailingSlash && s.has(file) {
		return file, true
	}
	if file := path + "/index.html"; mode == DropTrailingSlash && s.has(file) {
		return file, true
	}
	return "", false
}

func (s *Site) serveExact(path string) Decision {
	if s.has(path) {
		return serve(path)
	}
	return Decision{}
}

// fallback applies not_found_handling to a decoded path.
func (s *Site) fallback(path string) Decision {
	switch s.config.NotFoundHandling {
	case NotFoundSPA:
		if s.has("/index.html") {
			return Decision{Outcome: Serve, File: "/index.html", Fallback: true, Status: 200}
		}
	case NotFoundPage:
		for end := strings.LastIndexByte(path, '/'); end >= 0; end = strings.LastIndexByte(path[:end], '/') {
			if file := path[:end] + "/404.html"; s.has(file) {
				return Decision{Outcome: Serve, File: file, Fallback: true, Status: 404}
			}
		}
	}
	return Decision{Outcome: NotFound, Status: 404}
}

func (s *Site) has(path string) bool {
	_, ok := s.assets[path]
	return ok
}

func serve(file string) Decision {
	return Decision{Outcome: Serve, File: file, Status: 200}
}
