package traffic

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"mizzen.dev/mizzen"
)

// RouteName names an HTTP route of a VirtualService by where it was written.
// Braces are in no Kubernetes name, so that such names can be told from those
// that people give.
func RouteName(namespace, name string, index int) string {
	return fmt.Sprintf("{%s/%s:%d}", namespace, name, index)
}

// MatchName names a match within a route by its index.
func MatchName(index int) string { return fmt.Sprintf("{%d}", index) }

var (
	routeName = regexp.MustCompile(`\{([^/{}]+)/([^:{}]+):(\d+)\}`)
	matchName = regexp.MustCompile(`\{(\d+)\}`)
)

// RuleOfRoute returns what wrote a route; ok is false for routes that istiod
// makes of a Service alone. Of a route that comes from a delegate, it is the
// delegate's part.
func RuleOfRoute(r *routev3.Route) (rule Rule, ok bool) {
	routes := routeName.FindAllStringSubmatch(r.GetName(), -1)
	if len(routes) == 0 {
		return RuleOfMetadata(r.GetMetadata())
	}
	last := routes[len(routes)-1]
	rule.Ref = mizzen.Ref{Group: "networking.istio.io", Kind: "VirtualService", Namespace: last[1], Name: last[2]}
	index, err := strconv.Atoi(last[3])
	if err != nil {
		return Rule{}, false
	}
	rule.Path = mizzen.Path("spec").Key("http").Index(index)
	// With as many matches as routes in the name, the last is of the last; with
	// fewer it may be the root's.
	if matches := matchName.FindAllStringSubmatch(r.GetName(), -1); len(matches) == len(routes) {
		if j, err := strconv.Atoi(matches[len(matches)-1][1]); err == nil {
			rule.Path = rule.Path.Key("match").Index(j)
		}
	}
	return rule, true
}

// Route returns the path of the whole HTTP route that a rule belongs to.
func (r Rule) Route() mizzen.Path {
	path, _, _ := strings.Cut(string(r.Path), ".match[")
	return mizzen.Path(path)
}

// kinds are Istio's names of kinds in metadata of Envoy's resources.
var kinds = map[string]string{
	"virtual-service": "VirtualService", "destination-rule": "DestinationRule", "gateway": "Gateway",
	"service-entry": "ServiceEntry", "sidecar": "Sidecar", "envoy-filter": "EnvoyFilter",
}

// RuleOfMetadata returns what wrote a resource, by the note that istiod leaves
// in its metadata: "/apis/networking.istio.io/v1/namespaces/shop/virtual-service/reviews".
func RuleOfMetadata(m *corev3.Metadata) (Rule, bool) {
	config := m.GetFilterMetadata()["istio"].GetFields()["config"].GetStringValue()
	parts := strings.Split(config, "/")
	if len(parts) != 8 || kinds[parts[6]] == "" {
		return Rule{}, false
	}
	return Rule{Ref: mizzen.Ref{Group: parts[2], Kind: kinds[parts[6]], Namespace: parts[5], Name: parts[7]}}, true
}

var policyName = regexp.MustCompile(`^ns\[([^\]]*)\]-policy\[([^\]]*)\]-rule\[(\d+)\]$`)

// RuleOfPolicy returns what wrote a policy of an RBAC filter, by its name there.
func RuleOfPolicy(name string) (rule Rule, ok bool) {
	m := policyName.FindStringSubmatch(name)
	if m == nil {
		return Rule{}, false
	}
	rule.Ref = mizzen.Ref{Group: "security.istio.io", Kind: "AuthorizationPolicy", Namespace: m[1], Name: m[2]}
	if index, err := strconv.Atoi(m[3]); err == nil {
		rule.Path = mizzen.Path("spec").Key("rules").Index(index)
	}
	return rule, true
}

// RuleOfCluster returns the DestinationRule that shaped a cluster.
func RuleOfCluster(c *clusterv3.Cluster) (rule Rule, ok bool) { return RuleOfMetadata(c.GetMetadata()) }
