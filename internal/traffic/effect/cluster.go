package effect

import (
	"fmt"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// clusterAspect is one way in which callers treat a destination.
type clusterAspect struct {
	code    mizzen.EffectCode
	message string
	hints   hints
	words   func(*clusterv3.Cluster) fields
}

var clusterAspects = []clusterAspect{
	{mizzen.EffectCircuitBreaker, "the limits of connections and requests change", hints{"connectionPool"}, circuitBreaker},
	{mizzen.EffectOutlier, "when an endpoint is taken out changes", hints{"outlierDetection"}, outlier},
	{mizzen.EffectLoadBalancing, "how an endpoint is chosen changes", hints{"loadBalancer"}, loadBalancing},
	{mizzen.EffectClientTLS, "how callers secure connections changes", hints{"tls"}, clientTLS},
}

// clusters tells how the treatment of destinations changes. Clusters that are
// on one side only are no change of treatment: their routes tell.
func (c *comparison) clusters(v *crossing) {
	for _, name := range sortedKeys(v.before.Clusters) {
		b, a := v.before.Clusters[name], v.after.Clusters[name]
		n, known := parseCluster(name)
		if a == nil || !known || c.hash.of(b) == c.hash.of(a) || strings.HasPrefix(name, "inbound|") {
			continue
		}
		c.cluster(v, n, b, a)
	}
}

func (c *comparison) cluster(v *crossing, n clusterName, b, a *clusterv3.Cluster) {
	for _, aspect := range clusterAspects {
		x, y := aspect.words(b), aspect.words(a)
		if v.turned(n) {
			x, y = x.besides(protocolFields), y.besides(protocolFields)
		}
		before, after := changed(x, y)
		tls := aspect.code == mizzen.EffectClientTLS
		if before == after || tls && !c.chosen(b, a) {
			continue
		}
		f := found{
			code: aspect.code, impact: mizzen.ImpactNotice, subject: shortHost(n.host), namespace: namespaceOf(n.host),
			message: aspect.message, before: before, after: after, from: v.all(), parts: clusterParts(n),
			cause: c.clusterCause(b, a, aspect.hints),
		}
		if tls && weaker(clientTLS(b), clientTLS(a)) {
			f.impact = mizzen.ImpactDanger
		}
		if tls {
			c.out.addUnless(mizzen.EffectTLSMismatch, n.subject(), f)
			continue
		}
		c.out.add(f)
	}
}

func clusterParts(n clusterName) []string {
	if n.subset == "" {
		return []string{"port " + n.port}
	}
	return []string{"subset " + n.subset, "port " + n.port}
}

// clusterCause names the DestinationRule, of the side where it says something.
func (c *comparison) clusterCause(b, a *clusterv3.Cluster, h hints) cause {
	after, _ := traffic.RuleOfCluster(a)
	before, _ := traffic.RuleOfCluster(b)
	rule, ok := c.firstChanged(after, before)
	if ok && c.changes.changed(rule.Ref) {
		return c.cause(rule, h)
	}
	// istiod names the first of those that it merges.
	n, _ := parseCluster(a.GetName())
	if found, other := c.destinationRule(n.host, h); other {
		return found
	}
	if refs := append(c.changes.ofKind("ServiceEntry"), c.meshConfig()...); len(refs) > 0 {
		return c.oneOf(refs, "", append(h, "mesh"))
	}
	if !ok {
		return cause{}
	}
	return c.cause(rule, h)
}

// destinationRule is a changed DestinationRule that speaks of a host: for it
// alone before for others, too.
func (c *comparison) destinationRule(host string, h hints) (cause, bool) {
	var all []mizzen.Ref
	for _, ref := range c.changes.ofKind("DestinationRule") {
		for _, objects := range []map[mizzen.Ref]mizzen.Object{c.changes.before, c.changes.after} {
			o, there := objects[ref]
			if !there {
				continue
			}
			of, _, err := unstructured.NestedString(o.Object, "spec", "host")
			if of = fullHost(of, ref.Namespace); err == nil && of == host {
				return c.cause(traffic.Rule{Ref: ref}, h), true
			}
			if suffix, wildcard := strings.CutPrefix(of, "*"); err == nil && wildcard && strings.HasSuffix(host, suffix) {
				all = append(all, ref)
			}
		}
	}
	if len(all) == 0 {
		return cause{}, false
	}
	return c.oneOf(all, "", h), true
}

// chosen tells whether a changed object says how callers secure connections.
// Otherwise the change follows from what the servers accept, which mtls tells.
func (c *comparison) chosen(b, a *clusterv3.Cluster) bool {
	for _, cl := range []*clusterv3.Cluster{a, b} {
		if rule, ok := traffic.RuleOfCluster(cl); ok && c.changes.changed(rule.Ref) {
			return true
		}
	}
	return len(c.changes.refs) == 0 || len(c.meshConfig())+len(c.changes.ofKind("ServiceEntry")) > 0
}

// unlimited is what istiod writes where there is no limit.
const unlimited = 4294967295

func circuitBreaker(cl *clusterv3.Cluster) fields {
	var f fields
	for _, t := range cl.GetCircuitBreakers().GetThresholds() {
		for _, limit := range []struct {
			name  string
			value uint32
		}{
			{"connections", t.GetMaxConnections().GetValue()},
			{"pending requests", t.GetMaxPendingRequests().GetValue()},
			{"requests", t.GetMaxRequests().GetValue()},
			{"retries", t.GetMaxRetries().GetValue()},
		} {
			if limit.value == unlimited {
				f.set(limit.name, "unlimited")
			} else {
				f.set(limit.name, fmt.Sprintf("at most %d", limit.value))
			}
		}
	}
	f.set("connect timeout", duration(cl.GetConnectTimeout()))
	if k := cl.GetUpstreamConnectionOptions().GetTcpKeepalive(); k != nil {
		f.set("TCP keepalive", fmt.Sprintf("after %d s, every %d s, %d probes",
			k.GetKeepaliveTime().GetValue(), k.GetKeepaliveInterval().GetValue(), k.GetKeepaliveProbes().GetValue()))
	}
	protocol(cl, &f)
	return f
}

func outlier(cl *clusterv3.Cluster) fields {
	var f fields
	o := cl.GetOutlierDetection()
	if o == nil {
		f.set("outlier detection", off)
		return f
	}
	if v := o.GetConsecutive_5Xx(); v != nil {
		f.set("consecutive 5xx", fmt.Sprint(v.GetValue()))
	}
	if v := o.GetConsecutiveGatewayFailure(); v != nil {
		f.set("consecutive gateway errors", fmt.Sprint(v.GetValue()))
	}
	if v := o.GetConsecutiveLocalOriginFailure(); v != nil {
		f.set("consecutive local failures", fmt.Sprint(v.GetValue()))
	}
	f.set("checked every", duration(o.GetInterval()))
	f.set("out for at least", duration(o.GetBaseEjectionTime()))
	if v := o.GetMaxEjectionPercent(); v != nil {
		f.set("out at most", fmt.Sprintf("%d %%", v.GetValue()))
	}
	if v := cl.GetCommonLbConfig().GetHealthyPanicThreshold(); v.GetValue() > 0 {
		f.set("ignored below healthy", fmt.Sprintf("%g %%", v.GetValue()))
	}
	return f
}

func loadBalancing(cl *clusterv3.Cluster) fields {
	var f fields
	f.set("algorithm", strings.ToLower(strings.ReplaceAll(cl.GetLbPolicy().String(), "_", " ")))
	if p := cl.GetLoadBalancingPolicy(); p != nil {
		f.set("policy", plain(p))
	}
	if r := cl.GetRingHashLbConfig(); r != nil {
		f.set("ring", plain(r))
	}
	if m := cl.GetMaglevLbConfig(); m != nil {
		f.set("table", plain(m))
	}
	if l := cl.GetCommonLbConfig().GetLocalityWeightedLbConfig(); l != nil {
		f.set("localities", "weighted")
	}
	if l := cl.GetLeastRequestLbConfig(); l != nil {
		f.set("least request", plain(l))
	}
	if r := cl.GetRoundRobinLbConfig(); r != nil {
		f.set("warm-up", plain(r))
	}
	return f
}

const plaintext = "plaintext"

// clientTLS tells what callers speak: per endpoint by what it can ("auto"), or
// the same to all.
func clientTLS(cl *clusterv3.Cluster) fields {
	var f fields
	if len(cl.GetTransportSocketMatches()) > 0 {
		// Which servers are believed follows from the workloads behind.
		f.set("connections", "mTLS where the workload has a sidecar, else plaintext")
		return f
	}
	t, ok := unpack(cl.GetTransportSocket().GetTypedConfig(), &tlsv3.UpstreamTlsContext{})
	switch {
	case !ok:
		f.set("connections", plaintext)
	case istioIssued(t.GetCommonTlsContext()):
		f.set("connections", "mTLS")
		tlsFields(t, &f)
	case len(t.GetCommonTlsContext().GetTlsCertificateSdsSecretConfigs()) > 0:
		f.set("connections", "TLS with a client certificate")
		tlsFields(t, &f)
	default:
		f.set("connections", "TLS")
		tlsFields(t, &f)
	}
	return f
}

func tlsFields(t *tlsv3.UpstreamTlsContext, f *fields) {
	ctx := t.GetCommonTlsContext()
	if !istioIssued(ctx) {
		f.set("server name", t.GetSni())
		for _, s := range ctx.GetTlsCertificateSdsSecretConfigs() {
			f.set("client certificate", s.GetName())
		}
		f.set("server's CA", ctx.GetCombinedValidationContext().GetValidationContextSdsSecretConfig().GetName())
	}
	var names []string
	for _, m := range ctx.GetCombinedValidationContext().GetDefaultValidationContext().GetMatchSubjectAltNames() { //nolint:staticcheck // istiod writes the old field
		names = append(names, matcherWords(m))
	}
	f.set("server must be", list(distinct(names), 3))
}

// istioIssued tells whether the certificate shown is the workload's own, from
// istiod: that is mTLS within the mesh.
func istioIssued(ctx *tlsv3.CommonTlsContext) bool {
	for _, s := range ctx.GetTlsCertificateSdsSecretConfigs() {
		if s.GetName() == "default" {
			return true
		}
	}
	return false
}

// weaker tells whether connections are less protected: encryption or the check
// of the server is gone.
func weaker(b, a fields) bool {
	return strength(a) < strength(b)
}

func strength(f fields) int {
	switch v := f.get("connections"); {
	case v == "mTLS":
		return 3
	case strings.HasPrefix(v, "mTLS where"), strings.HasPrefix(v, "TLS with"):
		return 2
	case v == "TLS":
		return 1
	}
	return 0
}
