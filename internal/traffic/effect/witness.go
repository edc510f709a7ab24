package effect

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// outside is the caller of a witness that no workload is.
const outside = "outside"

func setHeader(w *mizzen.Witness, name, value string) {
	if w.Headers == nil {
		w.Headers = map[string]string{}
	}
	w.Headers[name] = value
}

// bear adds the token of a request to a witness.
func bear(w *mizzen.Witness, t *match.Token) {
	if t == nil {
		return
	}
	if t.Issuer != "" {
		setHeader(w, "Authorization", strings.TrimSuffix("Bearer a token of "+t.Issuer+"/"+t.Subject, "/"))
	}
	if t.Valid {
		w.Claims = t.Payload()
	}
}

// tokenWords tells a token: who issued it to whom, and the claims that a rule
// asks for.
func tokenWords(t *match.Token) string {
	words := "a token"
	if of := strings.Trim(t.Issuer+"/"+t.Subject, "/"); of != "" {
		words += " of " + of
	}
	var claims []string
	for _, name := range slices.Sorted(maps.Keys(t.Claims)) {
		claims = append(claims, claimWords(name, t.Claims[name])...)
	}
	if len(claims) > 0 {
		words += " with " + strings.Join(claims, " and ")
	}
	return words
}

// claimWords tells a claim, and those within it by their paths.
func claimWords(path string, value any) []string {
	if inner, ok := value.(map[string]any); ok {
		var out []string
		for _, name := range slices.Sorted(maps.Keys(inner)) {
			out = append(out, claimWords(path+"."+name, inner[name])...)
		}
		return out
	}
	switch v := value.(type) {
	case string:
		return []string{path + " " + v}
	case []string:
		return []string{path + " " + strings.Join(v, ", ")} // to a policy one in a list is as good
	}
	return []string{path + " " + asJSON(value)}
}

// asJSON writes what a claim can be, which always encodes.
func asJSON(value any) string {
	b, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	return string(b)
}

// somebody tells whether a token is of a subject that a rule names, rather than
// of anybody.
func somebody(r match.Request) bool { return r.Token != nil && r.Token.Subject != match.Somebody }

// claimed is how much a token says; a list counts more than a text.
func claimed(r match.Request) int {
	if r.Token == nil {
		return 0
	}
	return len(asJSON(r.Token.Payload()))
}

// witness is the request that shows the difference.
func (m *meeting) witness(r match.Request, b, a fate) *mizzen.Witness {
	w := &mizzen.Witness{From: m.names[0], Method: m.method(r, b, a), Before: b.words, After: a.words}
	if m.role == traffic.Gateway {
		w.From = outside
	}
	host := shortHost(withoutPort(r.Host))
	if m.port != "" && (r.Scheme != "https" || m.port != "443") && (r.Scheme == "https" || m.port != "80") {
		host += ":" + m.port
	}
	w.URL = r.Scheme + "://" + host + r.Path
	for _, h := range r.Headers {
		setHeader(w, h.Name, h.Value)
	}
	bear(w, m.c.issued(r.Token, m.names[0]))
	return w
}

// method is that of a witness: gRPC knows POST alone, if that makes no
// difference here.
func (m *meeting) method(r match.Request, b, a fate) string {
	if r.Method != http.MethodGet || m.mannersOnly || m.x == nil || !m.c.speaksGRPC(m.host, m.port) {
		return r.Method
	}
	r.Method = http.MethodPost
	x, y := m.before.fate(m.from, m.host, r), m.after.fate(m.to, m.host, r)
	if x.words != b.words || y.words != a.words {
		return http.MethodGet
	}
	return http.MethodPost
}

// speaksGRPC tells whether a Service says of a port that it is for gRPC.
func (c *comparison) speaksGRPC(host, port string) bool {
	name, namespace, _ := strings.Cut(strings.TrimSuffix(host, clusterDomain), ".")
	o, there := c.changes.after[mizzen.Ref{Kind: "Service", Namespace: namespace, Name: name}]
	if !there {
		return false
	}
	ports, _, err := unstructured.NestedSlice(o.Object, "spec", "ports")
	if err != nil {
		return false
	}
	return slices.ContainsFunc(ports, func(p any) bool {
		fields, _ := p.(map[string]any)
		named, _ := fields["name"].(string)
		protocol, _ := fields["appProtocol"].(string)
		return fmt.Sprint(fields["port"]) == port && strings.HasPrefix(cmp.Or(protocol, named), "grpc")
	})
}
