package effect

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// policyCause names the policy that decided on either side, if it changed, else
// a changed one that applies to the workload.
func (c *comparison) policyCause(r row, w *traffic.Workload) cause {
	after, _ := traffic.RuleOfPolicy(r.verdict[1].Policy)
	before, _ := traffic.RuleOfPolicy(r.verdict[0].Policy)
	h := hints{"rules", "action", "selector"}
	if rule, ok := c.firstChanged(after, before); ok && c.changes.changed(rule.Ref) {
		return c.cause(rule, h)
	}
	for _, kind := range []string{"AuthorizationPolicy", "RequestAuthentication"} {
		if found := c.policyFor(kind, w, append(h, "jwtRules")); found.ref.Kind != "" {
			return found
		}
	}
	return c.mannersCause(w.Name)
}

// identityCause names what gave a caller its identity.
func (c *comparison) identityCause(k caller) cause {
	for _, workload := range k.workloads {
		namespace, name, _ := strings.Cut(workload, "/")
		for _, kind := range workloadKinds {
			for _, ref := range c.changes.ofKind(kind, namespace) {
				if ref.Name == name {
					return c.cause(traffic.Rule{Ref: ref}, hints{"serviceAccount"})
				}
			}
		}
	}
	return c.oneOf(c.meshConfig(), "", hints{"mesh"})
}

// callWitness is the first request whose verdict differs.
func (c *comparison) callWitness(r row, subject string) *mizzen.Witness {
	from := outside
	if r.by.identities[1] != "" {
		from = r.by.one()
	}
	host := subject
	if i := slices.IndexFunc(r.ports, func(port uint32) bool { return port != others }); i >= 0 {
		host = fmt.Sprintf("%s:%d", subject, r.ports[i])
	}
	request := r.example.Request
	w := &mizzen.Witness{
		From: from, Method: request.Method, URL: "http://" + host + request.Path,
		Before: verdictWords(r.verdict[0]), After: verdictWords(r.verdict[1]),
	}
	if r.by.fresh && r.reason == byIdentity {
		w.Before = "it is not there"
	}
	if source := r.example.Peer.Source.Addr(); r.from != "" && source != fromAnywhere {
		w.Address = source.String()
	}
	if request.Host != anyHost {
		setHeader(w, "Host", request.Host)
	}
	for _, h := range request.Headers {
		setHeader(w, h.Name, h.Value)
	}
	bear(w, request.Token)
	return w
}

// authorizers names those who are asked as a reader knows them.
func authorizers(clusters []string) string {
	var out []string
	for _, cluster := range clusters {
		if n, ok := parseCluster(cluster); ok {
			cluster = n.subject()
		}
		out = append(out, cluster)
	}
	return list(distinct(out), 3)
}

func verdictWords(v match.Verdict) string {
	if v.Why == notTrusted {
		return notTrusted
	}
	s := string(v.Decision)
	if v.Decision == match.Undecided && len(v.Asks) > 0 {
		s = "allowed if " + authorizers(v.Asks) + " agrees"
	}
	if v.Status > 0 {
		s += fmt.Sprintf(" with %d %s", v.Status, http.StatusText(v.Status))
	}
	if rule, ok := traffic.RuleOfPolicy(v.Policy); ok {
		s += " by " + rule.Ref.Namespace + "/" + rule.Ref.Name
	}
	return s
}
