package trace

import (
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// How a connection is protected, in the words of the answer.
const (
	plaintext = "plaintext"
	mutualTLS = "mTLS"
	simpleTLS = "TLS"
)

// istioSecret is the name that istiod gives to the certificate of a workload.
const istioSecret = "default"

// transport is how a client speaks on a connection.
type transport struct {
	// security is plaintext, mutualTLS or simpleTLS.
	security string
	// istio: the client shows the certificate of its service account.
	istio bool
	// tunnel: the connection is inside of another, of HBONE.
	tunnel     bool
	serverName string
	protocols  []string
	// servers are the names of which the server must show one; none for any.
	servers []*matcherv3.StringMatcher
}

// transportOf is how a proxy speaks to an endpoint of a cluster: the first
// socket whose match the endpoint meets, else the cluster's own.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/cluster.proto
func transportOf(c *clusterv3.Cluster, e *endpointv3.LbEndpoint) transport {
	if tunneled(e) {
		return transport{security: mutualTLS, istio: true, tunnel: true}
	}
	socket := c.GetTransportSocket()
	labels := e.GetMetadata().GetFilterMetadata()["envoy.transport_socket_match"].GetFields()
	for _, m := range c.GetTransportSocketMatches() {
		if meets(labels, m.GetMatch().GetFields()) {
			socket = m.GetTransportSocket()
			break
		}
	}
	return upstream(socket)
}

func meets(have, want map[string]*structpb.Value) bool {
	for key, value := range want {
		if !proto.Equal(have[key], value) {
			return false
		}
	}
	return true
}

func upstream(socket *corev3.TransportSocket) transport {
	var tls tlsv3.UpstreamTlsContext
	if socket.GetTypedConfig().UnmarshalTo(&tls) != nil {
		return transport{security: plaintext}
	}
	shared := tls.GetCommonTlsContext()
	t := transport{security: simpleTLS, serverName: tls.GetSni(), protocols: shared.GetAlpnProtocols()}
	if len(shared.GetTlsCertificateSdsSecretConfigs())+len(shared.GetTlsCertificates()) > 0 {
		t.security = mutualTLS
	}
	for _, secret := range shared.GetTlsCertificateSdsSecretConfigs() {
		t.istio = t.istio || secret.GetName() == istioSecret
	}
	check := shared.GetValidationContext()
	if combined := shared.GetCombinedValidationContext(); combined != nil {
		check = combined.GetDefaultValidationContext()
	}
	t.servers = check.GetMatchSubjectAltNames() //nolint:staticcheck // istiod writes this field
	for _, typed := range check.GetMatchTypedSubjectAltNames() {
		t.servers = append(t.servers, typed.GetMatcher())
	}
	return t
}

// trusts tells whether a client accepts the certificate of an identity.
func (t transport) trusts(identity string) bool {
	if !t.istio || len(t.servers) == 0 {
		return true
	}
	name := "spiffe://" + identity
	return slices.ContainsFunc(t.servers, func(m *matcherv3.StringMatcher) bool {
		switch p := m.GetMatchPattern().(type) {
		case *matcherv3.StringMatcher_Exact:
			return p.Exact == name
		case *matcherv3.StringMatcher_Prefix:
			return strings.HasPrefix(name, p.Prefix)
		case *matcherv3.StringMatcher_Suffix:
			return strings.HasSuffix(name, p.Suffix)
		}
		return true
	})
}

// terminates tells whether a filter chain ends the TLS of its connections, and
// whether it demands a certificate of the client.
func terminates(chain *listenerv3.FilterChain) (ends, demands bool) {
	var tls tlsv3.DownstreamTlsContext
	if chain.GetTransportSocket().GetTypedConfig().UnmarshalTo(&tls) != nil {
		return false, false
	}
	return true, tls.GetRequireClientCertificate().GetValue()
}
