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
	if found := c.policyFor("AuthorizationPolicy", w, h); found.ref.Kind != "" {
		return found
	}
	return c.mannersCause(w.Name)
}

// callWitness is the first request whose verdict differs.
func (c *comparison) callWitness(r row, subject string) *mizzen.Witness {
	from := "outside"
	if r.by.identity != "" {
		from = r.by.name
		if names := c.workloadsOf([]caller{r.by}); len(names) > 0 {
			from = names[0]
		}
	}
	host := subject
	if i := slices.IndexFunc(r.ports, func(port uint32) bool { return port != others }); i >= 0 {
		host = fmt.Sprintf("%s:%d", subject, r.ports[i])
	}
	w := &mizzen.Witness{
		From: from, Method: r.example.Method, URL: "http://" + host + r.example.Path,
		Before: verdictWords(r.verdict[0]), After: verdictWords(r.verdict[1]),
	}
	set := func(name, value string) {
		if w.Headers == nil {
			w.Headers = map[string]string{}
		}
		w.Headers[name] = value
	}
	if r.example.Host != anyHost {
		set("Host", r.example.Host)
	}
	for _, h := range r.example.Headers {
		set(h.Name, h.Value)
	}
	if t := r.example.Token; t != nil {
		set("Authorization", strings.TrimSuffix("Bearer a token of "+t.Issuer+"/"+t.Subject, "/"))
	}
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
