package match

import (
	"net/netip"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"mizzen.dev/mizzen/internal/traffic"
)

func TestListener(t *testing.T) {
	listener := func(name, text string) *listenerv3.Listener {
		l := read(t, text, &listenerv3.Listener{})
		l.Name = name
		return l
	}
	at := func(ip, port string) string {
		return "address: {socketAddress: {address: '" + ip + "', portValue: " + port + "}}"
	}
	view := &traffic.View{Outbound: []*listenerv3.Listener{
		listener("virtualOutbound", "useOriginalDst: true\n"+at("0.0.0.0", "15001")),
		listener("any80", at("0.0.0.0", "80")),
		listener("one80", at("10.0.0.1", "80")+"\nadditionalAddresses: [{"+at("10.0.0.2", "80")+"}]"),
		listener("dns", "address: {socketAddress: {address: 10.0.0.9, portValue: 53, protocol: UDP}}"),
		listener("any6", at("::", "80")),
	}}
	cases := []struct{ to, want, why string }{
		{"10.0.0.1:80", "one80", "is for 10.0.0.1:80"},
		{"10.0.0.2:80", "one80", "is for 10.0.0.2:80"},
		{"10.0.0.3:80", "any80", "every address of port 80"},
		{"[::ffff:10.0.0.1]:80", "one80", "is for 10.0.0.1:80"},
		{"[fd00::1]:80", "any6", "every address"},
		{"10.0.0.1:81", "virtualOutbound", "no listener is for 10.0.0.1:81"},
		{"10.0.0.9:53", "virtualOutbound", "no listener"},
		{"10.0.0.9:15001", "virtualOutbound", "no listener"},
	}
	for _, c := range cases {
		ap := netip.MustParseAddrPort(c.to)
		l, why := Listener(view, ap.Addr(), ap.Port())
		if l.GetName() != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%s: %s because %s", c.to, l.GetName(), why)
		}
	}
	if l, _ := Listener(&traffic.View{}, netip.MustParseAddr("10.0.0.1"), 80); l != nil {
		t.Error("a listener out of nothing")
	}
}

func from(source, destination string, change func(*Connection)) Connection {
	c := Connection{Source: netip.MustParseAddrPort(source), Destination: netip.MustParseAddrPort(destination)}
	if change != nil {
		change(&c)
	}
	return c
}

func TestChain(t *testing.T) {
	l := read(t, `
filterChains:
- {name: p9090, filterChainMatch: {destinationPort: 9090, transportProtocol: tls}}
- {name: net16, filterChainMatch: {prefixRanges: [{addressPrefix: 10.1.0.0, prefixLen: 16}]}}
- {name: net24, filterChainMatch: {prefixRanges: [{addressPrefix: 10.1.2.0, prefixLen: 24}], serverNames: [only.example]}}
- {name: exact, filterChainMatch: {serverNames: [www.example.com], transportProtocol: tls}}
- {name: wild, filterChainMatch: {serverNames: ["*.example.com"]}}
- {name: wilder, filterChainMatch: {serverNames: ["*.com"]}}
- {name: mtls-http, filterChainMatch: {transportProtocol: tls, applicationProtocols: [istio-http/1.1, istio-h2]}}
- {name: mtls, filterChainMatch: {transportProtocol: tls, applicationProtocols: [istio]}}
- {name: tls, filterChainMatch: {transportProtocol: tls}}
- {name: http, filterChainMatch: {transportProtocol: raw_buffer, applicationProtocols: [http/1.1, h2c]}}
- {name: local, filterChainMatch: {transportProtocol: raw_buffer, sourceType: SAME_IP_OR_LOOPBACK}}
- {name: near, filterChainMatch: {transportProtocol: raw_buffer, sourceType: EXTERNAL, sourcePrefixRanges: [{addressPrefix: 10.9.0.0, prefixLen: 16}]}}
- {name: port, filterChainMatch: {transportProtocol: raw_buffer, sourceType: EXTERNAL, sourcePrefixRanges: [{addressPrefix: 10.9.9.0, prefixLen: 24}], sourcePorts: [7]}}
defaultFilterChain: {name: default}
`, &listenerv3.Listener{})
	tls := func(name string, alpn ...string) func(*Connection) {
		return func(c *Connection) { c.TLS, c.ServerName, c.ALPN = true, name, alpn }
	}
	plain := func(protocol string) func(*Connection) {
		return func(c *Connection) { c.ALPN = []string{protocol} }
	}
	cases := []struct {
		c         Connection
		want, why string
	}{
		{from("10.9.0.1:1", "10.0.0.1:9090", tls("")), "p9090", "destination port 9090"},
		{from("10.9.0.1:1", "10.0.0.1:9090", nil), "default", "no chain is left for transport protocol raw_buffer, so that the default chain takes it"},
		{from("10.9.0.1:1", "10.1.3.4:80", tls("")), "net16", "destination address 10.1.3.4"},
		{from("10.9.0.1:1", "10.1.2.4:80", tls("only.example")), "net24", "destination address"},
		{from("10.9.0.1:1", "10.1.2.4:80", tls("other.example")), "default", "no chain is left for server name other.example"},
		{from("10.9.0.1:1", "10.0.0.1:80", tls("WWW.example.com")), "exact", "server name"},
		{from("10.9.0.1:1", "10.0.0.1:80", func(c *Connection) { c.ServerName = "www.example.com" }), "default", "transport protocol"},
		{from("10.9.0.1:1", "10.0.0.1:80", tls("a.b.example.com")), "wild", "server name"},
		{from("10.9.0.1:1", "10.0.0.1:80", tls("example.com")), "wilder", "server name"},
		{from("10.9.0.1:1", "10.0.0.1:80", tls("example.org", "istio", "istio-h2")), "mtls", "application protocol"},
		{from("10.9.0.1:1", "10.0.0.1:80", tls("", "istio-h2", "istio")), "mtls-http", "application protocol"},
		{from("10.9.0.1:1", "10.0.0.1:80", tls("", "h2")), "tls", "no chain asks for application protocol 'h2'"},
		{from("10.9.0.1:1", "10.0.0.1:80", plain("http/1.1")), "http", "application protocol"},
		{from("10.0.0.1:1", "10.0.0.1:80", nil), "local", "source type"},
		{from("127.0.0.1:1", "10.0.0.1:80", nil), "local", "source type"},
		{from("10.9.0.1:1", "10.0.0.1:80", nil), "near", "source address"},
		{from("10.9.9.1:7", "10.0.0.1:80", nil), "port", "source"},
		{from("10.9.9.1:8", "10.0.0.1:80", nil), "default", "source port 8"},
		{from("10.8.0.1:1", "10.0.0.1:80", nil), "default", "source address"},
	}
	for i, c := range cases {
		chain, why := Chain(l, c.c)
		if chain.GetName() != c.want || !strings.Contains(why, c.why) {
			t.Errorf("case %d: %s because %s; want %s because %s", i, chain.GetName(), why, c.want, c.why)
		}
	}
	l.DefaultFilterChain = nil
	if chain, why := Chain(l, from("10.8.0.1:1", "10.0.0.1:80", nil)); chain != nil || !strings.Contains(why, "is closed") {
		t.Errorf("%v because %s", chain, why)
	}
}

func TestChainMatcher(t *testing.T) {
	input := func(kind string) string {
		return `input: {name: i, typedConfig: {"@type": type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.` + kind + `}}`
	}
	to := func(chain string) string {
		return `{action: {name: a, typedConfig: {"@type": type.googleapis.com/google.protobuf.StringValue, value: ` + chain + `}}}`
	}
	protocols := "{matcher: {matcherTree: {" + input("ApplicationProtocolInput") + `, exactMatchMap: {map: {"'http/1.1'": ` + to("http") + "}}}, onNoMatch: " + to("tcp") + "}}"
	ports := "{matcher: {matcherTree: {" + input("DestinationPortInput") + `, exactMatchMap: {map: {"80": ` + protocols + `, "81": ` + to("missing") + "}}}}}"
	l := read(t, `
filterChains: [{name: http}, {name: tcp}, {name: wide}]
filterChainMatcher:
  matcherTree:
    `+input("DestinationIPInput")+`
    customMatch:
      name: ip
      typedConfig:
        "@type": type.googleapis.com/xds.type.matcher.v3.IPMatcher
        rangeMatchers:
        - {ranges: [{addressPrefix: 10.0.0.0, prefixLen: 8}], onMatch: `+to("wide")+`}
        - {ranges: [{addressPrefix: 10.0.0.1, prefixLen: 32}], onMatch: `+ports+`}
        - {ranges: [{addressPrefix: 10.0.0.0, prefixLen: 16}], exclusive: true, onMatch: `+to("tcp")+`}
`, &listenerv3.Listener{})
	http := func(c *Connection) { c.ALPN = []string{"http/1.1"} }
	cases := []struct {
		c         Connection
		want, why string
	}{
		{from("10.9.0.1:1", "10.0.0.1:80", http), "http", "destination address 10.0.0.1, destination port 80, application protocol 'http/1.1'"},
		{from("10.9.0.1:1", "10.0.0.1:80", nil), "tcp", "application protocol (none)"},
		{from("10.9.0.1:1", "10.0.0.1:9", nil), "wide", "destination port 9"},
		{from("10.9.0.1:1", "10.0.0.2:9", nil), "tcp", "destination address 10.0.0.2"},
		{from("10.9.0.1:1", "10.7.0.1:80", nil), "wide", "destination address"},
		{from("10.9.0.1:1", "10.0.0.1:81", nil), "", "chain missing that there is not"},
		{from("10.9.0.1:1", "11.0.0.1:80", nil), "", "no chain"},
	}
	for i, c := range cases {
		if chain, why := Chain(l, c.c); chain.GetName() != c.want || !strings.Contains(why, c.why) {
			t.Errorf("case %d: %s because %s", i, chain.GetName(), why)
		}
	}
}
