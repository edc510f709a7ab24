package oracle

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
)

// confirm holds that the two Envoys differ as the effect says, and that each
// does what the witness says.
func (e *errand) confirm() error {
	b, a := &e.visits[0].seen, &e.visits[1].seen
	return errors.Join(e.differs(b, a), e.says("before", &e.visits[0], e.effect.Witness.Before), e.says("after", &e.visits[1], e.effect.Witness.After))
}

// refused is how many of the requests got an error, or nothing.
func (p *portrait) refused() int {
	n := p.closed
	for answer, count := range p.own {
		if answer >= "4" {
			n += count
		}
	}
	return n
}

// differs holds that what the code is about differs.
func (e *errand) differs(b, a *portrait) error {
	var ok bool
	switch e.effect.Code {
	case mizzen.EffectDestination, mizzen.EffectHostAdded, mizzen.EffectHostRemoved:
		ok = !slices.Equal(b.servers.names(), a.servers.names())
	case mizzen.EffectWeights:
		ok = slices.Equal(b.servers.names(), a.servers.names()) && (!cmp.Equal(b.clusters, a.clusters) || e.visits[0].bytes && !cmp.Equal(b.servers, a.servers))
	case mizzen.EffectFails, mizzen.EffectAuthorizationNarrower, mizzen.EffectMTLSStronger, mizzen.EffectWithdrawn, mizzen.EffectEgressClosed,
		mizzen.EffectTLSMismatch:
		ok = b.refused() < a.refused()
	case mizzen.EffectServed, mizzen.EffectAuthorizationWider, mizzen.EffectMTLSWeaker, mizzen.EffectExposed, mizzen.EffectEgressOpened:
		ok = b.refused() > a.refused()
	case mizzen.EffectJWT:
		ok = b.refused() != a.refused()
	case mizzen.EffectTimeout:
		ok = !cmp.Equal(b.timeouts, a.timeouts)
	case mizzen.EffectRetries:
		ok = b.attempts != a.attempts
	case mizzen.EffectFault:
		ok = !cmp.Equal(b.own, a.own) || b.delayed != a.delayed
	case mizzen.EffectMirror:
		ok = !slices.Equal(b.copies.names(), a.copies.names())
	case mizzen.EffectRewrite:
		ok = !cmp.Equal(b.paths, a.paths) || !cmp.Equal(b.hosts, a.hosts) || !cmp.Equal(b.own, a.own)
	case mizzen.EffectHeaders:
		ok = !cmp.Equal(b.requests, a.requests) || !cmp.Equal(b.responses, a.responses)
	case mizzen.EffectCORS:
		ok = !cmp.Equal(b.cors, a.cors) || !cmp.Equal(b.own, a.own)
	case mizzen.EffectOutlier:
		ok = !cmp.Equal(b.clusters, a.clusters)
	default:
		return fmt.Errorf("nobody knows what to look at for %s", e.effect.Code)
	}
	if !ok {
		return errors.New("envoy does not differ as the effect says")
	}
	return nil
}

// says holds that one side's words are true of what was seen there.
func (e *errand) says(side string, v *visit, words string) error {
	told := whole(words)
	if told == nil && (e.effect.Code != mizzen.EffectRewrite || strings.HasPrefix(words, "path ")) {
		told = treatments[e.effect.Code]
	}
	if told == nil {
		told = shares
	}
	if err := told(v, words); err != nil {
		return fmt.Errorf("%s: envoy does not do what %q says: %w", side, words, err)
	}
	return nil
}

// claim checks words against a visit.
type claim func(v *visit, words string) error

func errorIf(wrong bool, what string, got any) error {
	if wrong {
		return fmt.Errorf("%s: %v", what, got)
	}
	return nil
}

var (
	redirected = regexp.MustCompile(`^(\d{3}) to (.+)$`)
	ownAnswer  = regexp.MustCompile(`^(?:(\d{3})(?:: |, injected$| Unauthorized$)|answered with (\d{3})$|denied with (\d{3}) )`)
)

// whole returns what to look at where words tell the fate of all requests; nil
// for other words.
func whole(words string) claim {
	switch {
	case strings.HasPrefix(words, "allowed if "):
		return func(v *visit, _ string) error {
			return errorIf(!only(v.seen.own, "403 ext_authz_error"), "nobody was asked", v.seen.own)
		}
	case strings.HasPrefix(words, "allowed"), strings.HasPrefix(words, "reaches "), words == "the token is not looked at", words == "the token is believed":
		return func(v *visit, _ string) error { return errorIf(v.seen.served != sends, "served", v.seen.served) }
	case words == "denied", strings.HasPrefix(words, "refused"), strings.HasSuffix(words, "the connection is closed"), strings.HasSuffix(words, "the connection is refused"):
		return func(v *visit, _ string) error { return errorIf(v.seen.closed != sends, "closed", v.seen.closed) }
	case strings.HasPrefix(words, "passed "):
		return func(v *visit, _ string) error {
			return errorIf(!only(v.seen.servers, "PassthroughCluster"), "passed to", v.seen.servers)
		}
	case redirected.MatchString(words):
		return redirect
	case ownAnswer.MatchString(words):
		return answer
	}
	return nil
}

// only tells whether all requests were counted under one name that has a prefix.
func only(t tally, prefix string) bool {
	return len(t) == 1 && strings.HasPrefix(t.names()[0], prefix) && t[t.names()[0]] == sends
}

func redirect(v *visit, words string) error {
	m := redirected.FindStringSubmatch(words)
	return errors.Join(
		errorIf(!only(v.seen.own, m[1]+" direct_response") && !only(v.seen.own, m[1]+" path_normalization_failed"), "status", v.seen.own),
		errorIf(!only(v.seen.locations, m[2]) || v.seen.locations[m[2]] != sends, "location", v.seen.locations))
}

// answer is for an answer of the proxy itself: Envoy's details must be of the
// kind that the words tell.
func answer(v *visit, words string) error {
	m := ownAnswer.FindStringSubmatch(words)
	status := m[1] + m[2] + m[3]
	if v.bytes {
		return errorIf(v.seen.closed != sends, "closed", v.seen.closed)
	}
	details := map[string]string{
		"injected": "fault_filter_abort", "answered with": "direct_response", "denied with": "rbac_access_denied", "Unauthorized": "jwt_authn_access_denied",
		"no rule matches": "route_not_found", "the host is not known": "route_not_found", "has no workload": "no_healthy_upstream",
		"underscore": "http1.unexpected_underscore", " is no ": "cluster_not_found", "no ReferenceGrant": "cluster_not_found",
	}
	for part, detail := range details {
		if strings.Contains(words, part) {
			return errorIf(!only(v.seen.own, status+" "+detail), "answers", v.seen.own)
		}
	}
	return errors.New("nobody knows what Envoy should say")
}

// treatments are what to look at where words tell a treatment of requests.
var treatments = map[mizzen.EffectCode]claim{
	mizzen.EffectTimeout: func(v *visit, words string) error {
		want := ""
		if d, err := time.ParseDuration(words); err == nil {
			want = strconv.FormatInt(d.Milliseconds(), 10)
		}
		return errorIf(v.seen.timeouts[want] != sends, "timeouts", v.seen.timeouts)
	},
	mizzen.EffectRetries: retried,
	mizzen.EffectFault:   faulty,
	mizzen.EffectMirror:  copied,
	mizzen.EffectRewrite: func(v *visit, words string) error {
		path, host, ok := strings.Cut(strings.TrimPrefix(words, "path "), ", host ")
		return errorIf(!ok || v.seen.paths[path] != sends || v.seen.hosts[host] != sends, "server saw", fmt.Sprint(v.seen.paths, v.seen.hosts))
	},
	mizzen.EffectHeaders: overwritten,
	mizzen.EffectCORS:    crossed,
}

var upTo = regexp.MustCompile(`^up to (\d+) on ([^,]*(?:, [a-z0-9-]+)*)`)

// retried: a server that answers 503, and one that is unavailable to gRPC, are
// asked once more for each retry, if the words name the reason.
func retried(v *visit, words string) error {
	want := [2]int{1, 1}
	if m := upTo.FindStringSubmatch(words); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return err
		}
		on := strings.Split(m[2], ", ")
		if slices.Contains(on, "5xx") || slices.Contains(on, "gateway-error") {
			want[0] += n
		}
		if slices.Contains(on, "unavailable") {
			want[1] += n
		}
	}
	return errorIf(v.seen.attempts != want, "attempts", v.seen.attempts)
}

var (
	aborts = regexp.MustCompile(`(\d+) % answered with (\d+)`)
	delays = regexp.MustCompile(`(\d+) % delayed by `)
)

func faulty(v *visit, words string) error {
	own := tally{}
	if m := aborts.FindStringSubmatch(words); m != nil {
		own[m[2]+" fault_filter_abort"], _ = strconv.Atoi(m[1])
	}
	delayed := delays.MatchString(words)
	return errors.Join(
		errorIf(!cmp.Equal(own, v.seen.own), "answers", v.seen.own),
		errorIf(delayed != (v.seen.delayed > 0), "delayed", v.seen.delayed))
}

// copied holds that the workloads of the destinations named get copies.
func copied(v *visit, words string) error {
	var want []string
	for _, m := range regexp.MustCompile(`100 % to ([a-z0-9.:-]+)`).FindAllStringSubmatch(words, -1) {
		want = append(want, v.workloadsOf(m[1])...)
	}
	slices.Sort(want)
	return errorIf(!slices.Equal(want, v.seen.copies.names()), "copies at", v.seen.copies)
}

// overwritten holds that a header that is said to be set arrives, if one is.
func overwritten(v *visit, words string) error {
	for _, m := range regexp.MustCompile(`(request|response): (?:overwrite|append) ([a-z-]+): "(.*?)"`).FindAllStringSubmatch(words, -1) {
		seen := v.seen.requests
		if m[1] == "response" {
			seen = v.seen.responses
		}
		for list := range seen {
			if !strings.Contains("; "+list+";", "; "+m[2]+": "+m[3]+";") {
				return fmt.Errorf("%s not among %s", m[2], list)
			}
		}
	}
	return nil
}

// crossed holds that the origin of the witness is let in if the words name it, or
// every origin.
func crossed(v *visit, words string) error {
	origin := ""
	for _, h := range v.call.Header {
		if strings.EqualFold(h[0], "origin") {
			origin = h[1]
		}
	}
	allowed := strings.Contains(words, `"`+origin+`"`) || strings.Contains(words, `"*"`) || strings.Contains(words, `".*"`)
	credentials := allowed && strings.Contains(words, "credentials allowed")
	methods := ""
	if m := regexp.MustCompile(`methods ([A-Z,]+)`).FindStringSubmatch(words); m != nil && v.call.Method == http.MethodOptions {
		methods = "access-control-allow-methods: " + m[1] + ";"
	}
	for headers := range v.seen.cors {
		if !strings.Contains(headers+";", methods) {
			return fmt.Errorf("methods in %s", headers)
		}
		if strings.Contains(headers, "access-control-allow-origin: "+origin) != allowed || strings.Contains(headers, "access-control-allow-credentials: true") != credentials {
			return fmt.Errorf("headers %s", headers)
		}
	}
	return nil
}

var (
	share   = regexp.MustCompile(`^(.+) (\d+) %$`)
	failing = regexp.MustCompile(`^\d{3} for (\d+) %: `)
	inside  = regexp.MustCompile(`^(.*) \((.*)\)$`)
)

// shares reads words such as "v1 90 %, v2 10 %", "v1 (reviews-v1)", and
// "reviews-v1, reviews-v2 90 %, other:80 10 %", where two have one share.
func shares(v *visit, words string) error {
	if m := inside.FindStringSubmatch(words); m != nil {
		var names []string
		for _, server := range v.seen.servers.names() {
			names = append(names, server[strings.IndexByte(server, '/')+1:])
		}
		return errors.Join(shares(v, m[1]), errorIf(strings.Join(names, ", ") != m[2], "servers", v.seen.servers))
	}
	rest, group := sends, 0
	for part := range strings.SplitSeq(words, ", ") {
		n, want, name := 0, -1, part
		if m := failing.FindStringSubmatch(part); m != nil {
			want, _ = strconv.Atoi(m[1])
			n = v.seen.refused()
		} else {
			if m := share.FindStringSubmatch(part); m != nil {
				name = m[1]
				want, _ = strconv.Atoi(m[2])
			}
			n = v.got(name)
		}
		group += n
		if want >= 0 && (group < want-v.chance() || group > want+v.chance()) || n == 0 {
			return fmt.Errorf("%d of %d go to %s: %v, answers %v", n, sends, name, v.seen.places, v.seen.own)
		}
		rest -= n
		if want >= 0 {
			group = 0
		}
	}
	return errorIf(rest != 0, "to others go", rest)
}

// chance is by how much a share may be missed: of requests none, as they are
// dealt out; of connections by five times what is usual.
func (v *visit) chance() int {
	if v.bytes {
		return sends / 4
	}
	return 0
}

// got is how many requests went to what a reader calls by a name.
func (v *visit) got(name string) int {
	n := 0
	for place, count := range v.seen.places {
		cluster, server, _ := strings.Cut(place, "@")
		if v.called(cluster, server, name) {
			n += count
		}
	}
	return n
}

// called tells whether a server of a cluster has a name: the subset, the host
// and port, both, or that of the workload.
func (v *visit) called(cluster, server, name string) bool {
	_, short, _ := strings.Cut(server, "/")
	parts := strings.Split(cluster, "|")
	if cluster == "" { // of bytes only the server is seen
		return slices.Contains(v.workloadsOf(name), server)
	}
	if len(parts) != 4 {
		return false
	}
	host := strings.TrimSuffix(parts[3], clusterDomain) + ":" + parts[1]
	if parts[2] != "" {
		return name == parts[2] && parts[3] == v.host || name == host+" "+parts[2]
	}
	return name == host || parts[3] == v.host && (name == server || name == short)
}

// workloadsOf returns the servers behind what a reader calls by a name.
func (v *visit) workloadsOf(name string) []string {
	var out []string
	for cluster := range v.view.Clusters {
		for _, server := range v.behind(cluster) {
			if v.called(cluster, server, name) {
				out = append(out, server)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
