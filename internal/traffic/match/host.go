package match

import (
	"strconv"
	"strings"
	"sync"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// Router is a route configuration prepared for many requests: hosts are found
// by look-up rather than one by one.
type Router struct {
	rc *routev3.RouteConfiguration
	// exact is by lower-case domain, suffixes and prefixes by what is left of
	// the domain without its asterisk.
	exact, suffixes, prefixes map[string]*routev3.VirtualHost
	fallback                  *routev3.VirtualHost
	// looksAtArrival: a route looks at headers that change on arrival.
	looksAtArrival bool
	// plans are what routes do with any request, by *routev3.Route; each is
	// made when it is first wanted.
	plans sync.Map
}

// NewRouter prepares a route configuration. A domain that stands twice, for
// which Envoy rejects the configuration, belongs to the first.
func NewRouter(rc *routev3.RouteConfiguration) *Router {
	r := &Router{
		rc:       rc,
		exact:    map[string]*routev3.VirtualHost{},
		suffixes: map[string]*routev3.VirtualHost{},
		prefixes: map[string]*routev3.VirtualHost{},

		looksAtArrival: looksAtArrival(rc),
	}
	for _, vh := range rc.GetVirtualHosts() {
		for _, d := range vh.Domains {
			r.add(lower(d), vh)
		}
	}
	return r
}

func (r *Router) add(domain string, vh *routev3.VirtualHost) {
	into := r.exact
	switch {
	case domain == "*":
		if r.fallback == nil {
			r.fallback = vh
		}
		return
	case strings.HasPrefix(domain, "*"):
		into, domain = r.suffixes, domain[1:]
	case strings.HasSuffix(domain, "*"):
		into, domain = r.prefixes, domain[:len(domain)-1]
	}
	if into[domain] == nil {
		into[domain] = vh
	}
}

// Host returns the virtual host that takes a host, or nil: an exact domain
// before the longest suffix (*.example.com) before the longest prefix
// (example.*) before *. What stands for the asterisk is never empty.
func (r *Router) Host(host string) *routev3.VirtualHost {
	if r.rc.GetIgnorePortInHostMatching() {
		if i := portStart(host); i >= 0 {
			host = host[:i]
		}
	}
	host = lower(host)
	if vh := r.exact[host]; vh != nil {
		return vh
	}
	if len(r.suffixes) > 0 {
		for i := 1; i < len(host); i++ {
			if vh := r.suffixes[host[i:]]; vh != nil {
				return vh
			}
		}
	}
	if len(r.prefixes) > 0 {
		for i := len(host) - 1; i > 0; i-- {
			if vh := r.prefixes[host[:i]]; vh != nil {
				return vh
			}
		}
	}
	return r.fallback
}

// portStart returns where ":port" begins in an authority, or -1. A colon
// within the brackets of an IPv6 address begins no port.
func portStart(host string) int {
	i := strings.LastIndexByte(host, ':')
	if i < strings.LastIndexByte(host, ']') {
		return -1
	}
	return i
}

// withoutPort removes a port that is a number.
func withoutPort(host string) string {
	i := portStart(host)
	if i < 0 {
		return host
	}
	if _, err := strconv.ParseUint(host[i+1:], 10, 32); err != nil {
		return host
	}
	return host[:i]
}
