package effect

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// meeting is one virtual host at one entry, seen from one vantage point, on
// both sides. Either side may lack the entry or the virtual host.
type meeting struct {
	*vantage
	c *comparison
	// x is what else is known at the vantage point; nil for a connection.
	x             *crossing
	before, after *index
	from, to      *entry
	host, port    string
	// mannersOnly: the rules are the same, and requests are taken in otherwise.
	mannersOnly bool
	trials      []trial
	found       []found
	told        map[string]int
}

// routes tells what becomes of requests whose virtual host differs.
func (c *comparison) routes(x *crossing) {
	for _, p := range x.pairs {
		if x.role == traffic.Waypoint && (p.from == nil || p.to == nil) {
			continue // waypoints tells who is led through it
		}
		m := &meeting{vantage: x.vantage, c: c, x: x, before: x.was.index, after: x.is.index, from: p.from, to: p.to, told: map[string]int{}}
		m.host, m.port = splitPort(p.name)
		if !m.hasNoService() {
			m.meet(p.key, p.before, p.after)
		}
	}
}

// meet compares a virtual host, unless the same has been compared: at another
// vantage point, or for another host with the same rules.
func (m *meeting) meet(entry string, vb, va *routev3.VirtualHost) {
	defer m.tellAll()
	if vb == nil || va == nil {
		m.once(vb, va)
		return
	}
	b, a := m.c.signature(m.before, vb), m.c.signature(m.after, va)
	was, is := domains(vb), domains(va)
	if m.mannersOnly = b+was == a+is; m.mannersOnly && !m.mannersDiffer() {
		return
	}
	key := []string{string(m.role), entry, m.port, b, a, m.mannersKey()}
	alike := was == is && m.single(vb)
	if !alike {
		key = append(key, was, is)
	}
	if m.named(vb, va) {
		key = append(key, m.host)
	}
	known, ok := m.c.met[strings.Join(key, "\x00")]
	if !ok {
		m.compare(vb, va)
		m.c.met[strings.Join(key, "\x00")] = m.found
		return
	}
	for _, f := range known {
		if f.from = m.all(); alike {
			f.subjects = []string{m.subject(m.host)}
		}
		m.found = append(m.found, f)
	}
}

// once compares a virtual host that one side alone has; vb or va is nil.
func (m *meeting) once(vb, va *routev3.VirtualHost) {
	if m.c.renamed(m.host) {
		return // aliases tells
	}
	if k := m.crossed(va == nil); k != nil {
		m.recast(vb, va, k)
		return
	}
	m.compare(vb, va)
}

// named tells whether one of the virtual hosts is another host's, too: requests
// are for the name of an ExternalName Service.
func (m *meeting) named(vhosts ...*routev3.VirtualHost) bool {
	return slices.ContainsFunc(vhosts, func(vh *routev3.VirtualHost) bool {
		host, _ := hostPort(vh)
		return host != m.host
	})
}

// single tells whether a virtual host is for one host that is no Service's.
// Requests to it are the same as those to any other such host.
func (m *meeting) single(vh *routev3.VirtualHost) bool {
	return m.role == traffic.Sidecar && !strings.HasSuffix(m.host, clusterDomain) && domains(vh) == m.host && !strings.Contains(m.host, "*")
}

// domains returns the domains of a virtual host without addresses and without
// the form that ends in a dot.
func domains(vh *routev3.VirtualHost) string {
	list := slices.DeleteFunc(slices.Clone(vh.GetDomains()), func(d string) bool { return isAddress(d) || strings.HasSuffix(d, ".") })
	slices.Sort(list)
	return strings.Join(list, " ")
}

func (m *meeting) tellAll() {
	for _, f := range m.found {
		m.c.out.add(f)
	}
}

// hasNoService tells whether a virtual host is one that istiod makes for a port
// that the Service does not have, since a VirtualService speaks of the host at
// all ports that any Service has.
func (m *meeting) hasNoService() bool {
	if m.role != traffic.Sidecar || !strings.HasSuffix(m.host, clusterDomain) {
		return false
	}
	b, a := m.before.ports[m.host], m.after.ports[m.host]
	if len(b)+len(a) == 0 {
		return false
	}
	return !b[m.port] && !a[m.port]
}

// compare tries the requests that either side tells apart.
func (m *meeting) compare(vb, va *routev3.VirtualHost) {
	if m.role == traffic.Sidecar && (vb == nil || va == nil) {
		m.known(vb, va)
		return
	}
	for _, r := range m.probes(m.requests(vb, va)) {
		m.differ(m.try(r))
	}
	m.report()
	if !m.mannersOnly {
		m.shadowed(vb, va)
	}
}

// try asks both sides about a request.
func (m *meeting) try(r match.Request) (b, a fate) {
	b, a = m.before.fate(m.from, m.host, m.seen(0, r)), m.after.fate(m.to, m.host, m.seen(1, r))
	m.trials = append(m.trials, trial{request: r, b: b, a: a})
	return b, a
}

// seen is a request as the rules of a side see it: a gateway that looks at no
// tokens knows no claims.
func (m *meeting) seen(side int, r match.Request) match.Request {
	if r.Token != nil && m.role == traffic.Gateway && len(m.c.tokensOf(side, m.names[0])) == 0 {
		r.Token = nil
	}
	return r
}

// requests returns the requests to try, the simplest first.
func (m *meeting) requests(vhosts ...*routev3.VirtualHost) []match.Request {
	var rcs []*routev3.RouteConfiguration
	var domains []string
	for _, vh := range vhosts {
		if vh != nil {
			rcs = append(rcs, &routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{vh}})
			domains = append(domains, vh.Domains...)
		}
	}
	domains = slices.DeleteFunc(domains, func(d string) bool { return isAddress(d) || strings.HasSuffix(d, ".") })
	entry := cmp.Or(m.to, m.from)
	var out []match.Request
	seen := map[string]bool{}
	candidates, all := match.Candidates(match.CandidateOptions{Max: m.c.o.MaxCandidates}, rcs...)
	if !all {
		m.untried()
	}
	for _, r := range m.elsewhere(candidates, vhosts...) {
		r.Host = m.authority(r.Host, domains)
		r.Scheme = entry.scheme
		key := requestKey(r)
		if seen[key] || !m.addressed(r.Host, vhosts) || strings.HasSuffix(withoutPort(r.Host), ".") || !entry.takes(withoutPort(r.Host)) {
			continue
		}
		seen[key] = true
		out = append(out, r)
	}
	slices.SortStableFunc(out, simpler)
	return out
}

// addressed tells whether one of the virtual hosts takes a host on its side.
// Requests to others are no matter of this meeting.
func (m *meeting) addressed(host string, vhosts []*routev3.VirtualHost) bool {
	for _, e := range []*entry{m.from, m.to} {
		if e == nil {
			continue
		}
		if vh := e.router.Host(host); vh != nil && slices.Contains(vhosts, vh) {
			return true
		}
	}
	return false
}

// elsewhere adds the same requests for domains that only one side has: rules are
// tried at the first domain of a virtual host, and these may be others.
func (m *meeting) elsewhere(requests []match.Request, vhosts ...*routev3.VirtualHost) []match.Request {
	const most = 20
	count := map[string]int{}
	for _, vh := range vhosts {
		for _, d := range vh.GetDomains() {
			count[d]++
		}
	}
	domains := slices.DeleteFunc(sortedKeys(count), func(d string) bool {
		return count[d] > 1 || isAddress(d) || strings.HasSuffix(m.host, clusterDomain)
	})
	if len(domains) > most {
		m.untried()
		domains = domains[:most]
	}
	out := requests
	for _, d := range domains {
		for _, r := range requests[:min(len(requests), m.c.o.MaxCandidates/most)] {
			r.Host = strings.Replace(d, "*", "any", 1)
			out = append(out, r)
		}
	}
	return out
}

// authority turns the many names of a Service, one for each way to write it,
// into the one that a reader knows.
func (m *meeting) authority(host string, domains []string) string {
	if strings.HasSuffix(m.host, clusterDomain) && (slices.Contains(domains, m.host) || m.role == traffic.Sidecar && slices.Contains(domains, "*")) {
		return m.host // "*" stands for it where its address alone leads to the rules
	}
	return host
}

func withoutPort(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && digits(host[i+1:]) {
		return host[:i]
	}
	return host
}

func requestKey(r match.Request) string {
	var b strings.Builder
	b.WriteString(r.Method + " " + r.Host + r.Path)
	for _, h := range r.Headers {
		b.WriteString("\x00" + h.Name + ":" + h.Value)
	}
	if t := r.Token; t != nil {
		fmt.Fprintf(&b, "\x00token %s %t", asJSON(t.Payload()), t.Valid)
	}
	return b.String()
}

// simpler orders requests by how easily a reader reproduces them.
func simpler(a, b match.Request) int {
	return cmp.Or(
		cmp.Compare(len(a.Headers), len(b.Headers)),
		cmp.Compare(btoi(strange(a)), btoi(strange(b))),
		cmp.Compare(btoi(a.Token != nil), btoi(b.Token != nil)),
		cmp.Compare(btoi(somebody(a)), btoi(somebody(b))),
		cmp.Compare(claimed(a), claimed(b)),
		cmp.Compare(btoi(a.Method != http.MethodGet), btoi(b.Method != http.MethodGet)),
		cmp.Compare(btoi(strings.Contains(a.Path, "?")), btoi(strings.Contains(b.Path, "?"))),
		cmp.Compare(len(a.Path), len(b.Path)),
		cmp.Compare(capitals(a), capitals(b)),
		cmp.Compare(requestKey(a), requestKey(b)),
	)
}

// strange tells whether a request says that it comes from an origin such as no
// browser has.
func strange(r match.Request) bool {
	return slices.ContainsFunc(r.Headers, func(h match.Header) bool { return h.Name == "origin" && !strings.Contains(h.Value, "://") })
}

// capitals counts the letters that nobody writes so: they are tried since cases
// may matter, and are sorted first by bytes.
func capitals(r match.Request) (n int) {
	count := func(text string) {
		for i := range len(text) {
			if 'A' <= text[i] && text[i] <= 'Z' {
				n++
			}
		}
	}
	count(r.Host)
	count(r.Path)
	for _, h := range r.Headers {
		count(h.Value)
	}
	if r.Token != nil {
		count(r.Token.Subject)
		for _, name := range sortedKeys(r.Token.Claims) {
			count(asJSON(r.Token.Claims[name]))
		}
	}
	return n
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// known tells of a host that callers know on one side only. One request is
// asked: its rules are as new, or as gone, as the host.
func (m *meeting) known(vb, va *routev3.VirtualHost) {
	defer m.report()
	for _, r := range m.requests(vb, va) {
		b, a := m.try(r)
		switch {
		case b.unknown && a.unknown:
		case b.unknown || a.unknown:
			m.tell(m.appears(va != nil, b, a), nil)
			return
		default:
			// Another virtual host, such as one with a wildcard, takes it.
			m.differ(b, a)
		}
	}
}

// appears says what it means that callers know a host, or no longer.
func (m *meeting) appears(known bool, b, a fate) found {
	f := found{code: mizzen.EffectHostAdded, impact: mizzen.ImpactInfo, message: "the host becomes known to callers"}
	seen := a
	if !known {
		f.code, f.impact, f.message, seen = mizzen.EffectHostRemoved, mizzen.ImpactWarning, "the host is no longer known to callers", b
	}
	if seen.external() {
		m.egress(&f, b, a)
	}
	switch {
	case b.refused < 100 && a.refused > b.refused:
		f.impact = mizzen.ImpactDanger
	case known && a.refused == 100:
		f.impact, f.message = mizzen.ImpactWarning, "the host becomes known to callers, and every request to it fails"
	}
	return f
}

// external tells whether all that a fate leads to is outside of the mesh.
func (f *fate) external() bool {
	for _, s := range f.shares {
		if !s.external() {
			return false
		}
	}
	return len(f.shares) > 0
}

// egress tells of a host outside of the mesh: what counts is whether it can be
// reached, not whether it is known.
func (m *meeting) egress(f *found, b, a fate) {
	switch {
	case b.refused == 100 && a.refused < 100:
		f.code, f.impact, f.message = mizzen.EffectEgressOpened, mizzen.ImpactWarning, "the host outside of the mesh can be reached"
	case b.refused < 100 && a.refused == 100:
		f.code, f.message = mizzen.EffectEgressClosed, "the host outside of the mesh can no longer be reached"
	case f.code == mizzen.EffectHostRemoved:
		f.impact = mizzen.ImpactNotice
	}
}
