package oracle

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"mizzen.dev/mizzen/test/oracle/internal/client"
	"mizzen.dev/mizzen/test/oracle/internal/trial"
	"mizzen.dev/mizzen/test/oracle/internal/upstream"
)

// portrait is what an Envoy did with a witness that was sent many times.
type portrait struct {
	closed, served, delayed int
	// own are the answers of Envoy itself: "403 rbac_access_denied…".
	own tally
	// clusters, servers and places ("cluster@server") are who got it. Servers
	// are workloads, or addresses.
	clusters, servers, places tally
	// The rest is as the server saw it, and as the client did.
	paths, hosts, timeouts, requests, responses, cors, locations tally
	// copies are the servers that got copies.
	copies tally
	// attempts are how often a server was asked that answers with 503, and with
	// a gRPC status of 14.
	attempts [2]int
}

// tally counts by value.
type tally map[string]int

func (t tally) names() []string { return slices.Sorted(maps.Keys(t)) }

func (p portrait) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "closed %d, served %d, delayed %d, attempts %v", p.closed, p.served, p.delayed, p.attempts)
	for _, x := range p.fields() {
		if len(*x.tally) > 0 {
			fmt.Fprintf(&b, ", %s %v", x.name, *x.tally)
		}
	}
	return b.String()
}

// field is a tally with its name.
type field struct {
	name  string
	tally *tally
}

func (p *portrait) fields() []field {
	return []field{
		{"own", &p.own},
		{"clusters", &p.clusters},
		{"servers", &p.servers},
		{"places", &p.places},
		{"paths", &p.paths},
		{"hosts", &p.hosts},
		{"timeouts", &p.timeouts},
		{"requests", &p.requests},
		{"responses", &p.responses},
		{"cors", &p.cors},
		{"locations", &p.locations},
		{"copies", &p.copies},
	}
}

func portray(all []trial.Seen) portrait {
	var p portrait
	for _, x := range p.fields() {
		*x.tally = tally{}
	}
	for _, s := range all {
		p.add(s)
	}
	return p
}

func (p *portrait) add(s trial.Seen) {
	p.hits(s)
	if s.Closed {
		p.closed++
		return
	}
	p.cors[headersOf(s.Header, isCORS)]++
	p.responses[headersOf(s.Header, told)]++
	if strings.Contains(s.Header.Get("x-o-flags"), "DI") {
		p.delayed++
	}
	if l := s.Header.Get("Location"); l != "" {
		p.locations[l]++
	}
	if server := s.Header.Get(upstream.Name); server != "" {
		p.served++
		cluster := s.Header.Get("x-o-cluster")
		p.servers[server]++
		p.clusters[cluster]++
		p.places[cluster+"@"+server]++
		return
	}
	p.own[fmt.Sprintf("%d %s", s.Status, s.Header.Get(client.Probe))]++
}

// hits notes what servers saw. Those that did not answer got copies.
func (p *portrait) hits(s trial.Seen) {
	for _, h := range s.Hits {
		if h.Cluster != s.Header.Get(upstream.Name) {
			p.copies[h.Cluster]++
			continue
		}
		p.paths[h.Path]++
		p.hosts[h.Host]++
		p.timeouts[h.Header.Get("x-envoy-expected-rq-timeout-ms")]++
		p.requests[headersOf(h.Header, told)]++
	}
}

func isCORS(name string) bool { return strings.HasPrefix(name, "access-control-") }

// told tells whether a header is neither the oracle's own nor one that differs
// from request to request.
func told(name string) bool {
	switch {
	case strings.HasPrefix(name, "x-o-"), strings.HasPrefix(name, "x-envoy-"), isCORS(name):
		return false
	}
	return !slices.Contains([]string{"x-request-id", "date", "content-length", "host", "location", "traceparent"}, name)
}

func headersOf(h http.Header, which func(string) bool) string {
	var out []string
	for name, values := range h {
		if name = strings.ToLower(name); which(name) {
			out = append(out, name+": "+strings.Join(values, ","))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}
