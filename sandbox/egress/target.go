package egress

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Target is a place a build may reach, in canonical form.
type Target struct {
	// Host is a lower-case DNS name without a trailing dot. Never an address:
	// a build has no business with one.
	Host string
	Port uint16
}

// String gives "host:port".
func (t Target) String() string {
	return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
}

// ParseTarget reads "host:port" as it stands in settings and in a CONNECT
// request (RFC 9110, section 9.3.6). Two spellings of one place give equal
// targets, which is what an allow-list needs.
func ParseTarget(text string) (Target, error) {
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		return Target{}, fmt.Errorf("%q is not host:port", text)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 || portText != strconv.FormatUint(port, 10) {
		return Target{}, fmt.Errorf("%q has no valid port", text)
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if err := checkHost(host); err != nil {
		return Target{}, fmt.Errorf("%q: %w", text, err)
	}
	return Target{Host: host, Port: uint16(port)}, nil
}

// checkHost accepts DNS names with at least one letter in the last label,
// which no spelling of an IPv4 address has except hexadecimal ones; those
// start with a digit there.
func checkHost(host string) error {
	if host == "" || len(host) > 253 {
		return fmt.Errorf("the host name is empty or too long")
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return fmt.Errorf("the host name is malformed")
		}
		for _, c := range []byte(label) {
			if !isLetter(c) && !isDigit(c) && c != '-' {
				return fmt.Errorf("the host name has a forbidden character")
			}
		}
	}
	if last := labels[len(labels)-1]; !isLetter(last[0]) {
		return fmt.Errorf("an address is not a host name")
	}
	return nil
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
