package effect

import (
	"fmt"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// gateways tells how TLS at the hosts of gateways changes. Which hosts and
// paths they serve is told by routes.
func (c *comparison) gateways() {
	for _, name := range sortedKeys(c.after.proxies) {
		b, a := c.before.proxies[name], c.after.proxies[name]
		if b == nil || a.Role != traffic.Gateway {
			continue
		}
		before, after := servers(accepted(b)), servers(accepted(a))
		for _, key := range union(before, after) {
			x, y := before[key], after[key]
			if x == nil || y == nil {
				continue
			}
			words, now := changed(*x, *y)
			if words == now {
				continue
			}
			f := found{
				code: mizzen.EffectCertificate, impact: mizzen.ImpactWarning, subject: key, message: "TLS at the gateway changes",
				before: words, after: now, callers: []string{name},
			}
			if lessTLS(*x, *y) {
				f.impact, f.message = mizzen.ImpactDanger, "TLS at the gateway becomes weaker"
			}
			f.cause = c.oneOf(c.gatewaysOf(key), a.Workload.Namespace, hints{"credentialName", "minProtocolVersion", "mode", "tls"})
			c.out.add(f)
		}
	}
}

// gatewaysOf returns the changed Gateways that name a host, given with a port.
func (c *comparison) gatewaysOf(hostPort string) []mizzen.Ref {
	host := withoutPort(hostPort)
	var out []mizzen.Ref
	all := c.changes.ofKind("Gateway")
	for _, ref := range all {
		if c.speaksOf(ref, host) {
			out = append(out, ref)
		}
	}
	if len(out) == 0 {
		return all
	}
	return out
}

// servers returns what each host at each port of a gateway asks of TLS.
func servers(v *traffic.View) map[string]*fields {
	out := map[string]*fields{}
	for _, l := range v.Inbound {
		for _, chain := range chains(l) {
			port := publicPort(l, chain)
			names := chain.GetFilterChainMatch().GetServerNames()
			if len(names) == 0 {
				names = []string{"*"}
			}
			for _, n := range names {
				f := server(chain)
				out[n+":"+port] = &f
			}
		}
	}
	return out
}

// publicPort returns the port that the Gateway names; the listener is at the
// one that its Service leads to.
func publicPort(l *listenerv3.Listener, chain *listenerv3.FilterChain) string {
	parts := strings.Split(httpManager(chain).GetRds().GetRouteConfigName(), ".")
	if len(parts) > 2 && parts[0] == "https" && digits(parts[1]) {
		return parts[1]
	}
	return fmt.Sprint(l.GetAddress().GetSocketAddress().GetPortValue())
}

func server(chain *listenerv3.FilterChain) fields {
	var f fields
	t, ok := unpack(chain.GetTransportSocket().GetTypedConfig(), &tlsv3.DownstreamTlsContext{})
	if !ok {
		mode := "no TLS"
		if len(chain.GetFilterChainMatch().GetServerNames()) > 0 {
			mode = "TLS passed through"
		}
		f.set("mode", mode)
		return f
	}
	ctx := t.GetCommonTlsContext()
	mode := "TLS"
	if t.GetRequireClientCertificate().GetValue() {
		mode = "TLS with a client certificate"
	}
	f.set("mode", mode)
	var names []string
	for _, s := range ctx.GetTlsCertificateSdsSecretConfigs() {
		names = append(names, strings.TrimPrefix(s.GetName(), "kubernetes://"))
	}
	f.set("certificate", strings.Join(names, ", "))
	p := ctx.GetTlsParams()
	f.set("at least", version(p.GetTlsMinimumProtocolVersion()))
	if p.GetTlsMaximumProtocolVersion() != tlsv3.TlsParameters_TLS_AUTO {
		f.set("at most", version(p.GetTlsMaximumProtocolVersion()))
	}
	f.set("ciphers", strings.Join(p.GetCipherSuites(), ", "))
	f.set("clients' CA", strings.TrimPrefix(ctx.GetCombinedValidationContext().GetValidationContextSdsSecretConfig().GetName(), "kubernetes://"))
	f.set("protocols", strings.Join(ctx.GetAlpnProtocols(), ", "))
	return f
}

// version tells a TLS version; Envoy's default for servers is 1.2.
func version(v tlsv3.TlsParameters_TlsProtocol) string {
	if v == tlsv3.TlsParameters_TLS_AUTO {
		return "TLS 1.2"
	}
	return strings.NewReplacer("TLSv", "TLS ", "_", ".").Replace(v.String())
}

// lessTLS tells whether a mode or version became weaker.
func lessTLS(b, a fields) bool {
	rank := map[string]int{"no TLS": 0, "TLS passed through": 1, "TLS": 1, "TLS with a client certificate": 2}
	if rank[a.get("mode")] != rank[b.get("mode")] {
		return rank[a.get("mode")] < rank[b.get("mode")]
	}
	return a.get("at least") < b.get("at least")
}
