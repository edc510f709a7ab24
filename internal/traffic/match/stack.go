package match

import (
	"errors"
	"fmt"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	tcpextauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/ext_authz/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// Stack is what a filter chain does with a connection, decoded once for many
// requests.
type Stack struct {
	// Name is that of the filter chain.
	Name string
	// TLS is how the chain terminates TLS; nil if it does not.
	TLS *tlsv3.DownstreamTlsContext
	// HTTP is the connection manager; nil if the chain passes bytes on.
	HTTP *hcmv3.HttpConnectionManager
	// Options are how it treats requests before it routes them.
	Options Options
	// TCP is where bytes go if HTTP is nil.
	TCP []Destination
	// network and http are the filters that may refuse, in their order.
	network, http []guard
	// tellsCaller: policies see who is behind a tunnel as the client's
	// certificate.
	tellsCaller bool
	// unsure names the filters that are not understood.
	unsure []string
	// router has the routes; nil if none are known.
	router *Router
	// overridden are the filters that a route sets otherwise.
	overridden map[string]bool
}

// guard is a filter that may refuse a connection or a request. One of its
// fields beside the name is set.
type guard struct {
	name string
	rbac *rules
	jwt  *jwtv3.JwtAuthentication
	// asks is an external authorizer, and when the metadata that it needs to
	// be asked; nil means always.
	asks string
	when *matcherv3.MetadataMatcher
}

// rules are those of an RBAC filter of either kind.
type rules struct {
	enforced, shadow *ruleset
	// shadowPrefix is put before the names of what the shadow rules leave, and
	// filter is the name under which they do.
	shadowPrefix string
	filter       string
	// unsure is set if the filter has rules of a form that is not understood.
	unsure bool
}

// Open decodes a filter chain. The error is of Kind Invalid and says which
// filter cannot be decoded.
func Open(chain *listenerv3.FilterChain) (*Stack, error) {
	s := &Stack{Name: chain.GetName()}
	if socket := chain.GetTransportSocket().GetTypedConfig(); socket != nil {
		context := &tlsv3.DownstreamTlsContext{}
		if socket.MessageIs(context) {
			if err := socket.UnmarshalTo(context); err != nil {
				return nil, undecodable(chain, "the transport socket", err)
			}
			s.TLS = context
		}
	}
	for _, f := range chain.GetFilters() {
		s.addNetwork(f.GetName(), f.GetTypedConfig())
	}
	for _, f := range s.HTTP.GetHttpFilters() {
		if f.GetDisabled() {
			continue
		}
		if err := s.addHTTP(f.GetName(), f.GetTypedConfig()); err != nil {
			return nil, undecodable(chain, f.GetName(), err)
		}
	}
	s.Options = OptionsOf(s.HTTP)
	s.Adopt(s.HTTP.GetRouteConfig())
	return s, nil
}

// Adopt tells the policies of an HTTP chain the routes that it asks for by name,
// which may set a policy's filter otherwise, or let connections change to more
// protocols. A chain knows its own routes. It does nothing with nil.
func (s *Stack) Adopt(rc *routev3.RouteConfiguration) {
	if rc != nil {
		s.router, s.overridden = NewRouter(rc), overridden(rc)
	}
}

func undecodable(chain *listenerv3.FilterChain, what string, err error) error {
	return &mizzen.Error{
		Kind:   mizzen.Invalid,
		Object: "filter chain " + chain.GetName(),
		Err:    fmt.Errorf("decode %s: %w", what, err),
		Remedy: "look for an EnvoyFilter that changes it",
	}
}

var errNoConfig = errors.New("it has no configuration")

// addNetwork takes one network filter. One of a type that is not known here
// counts as not understood.
func (s *Stack) addNetwork(name string, config *anypb.Any) {
	message, _ := config.UnmarshalNew() // nil if it fails, or if there is none
	switch m := message.(type) {
	case *hcmv3.HttpConnectionManager:
		s.HTTP = m
	case *tcpproxyv3.TcpProxy:
		s.TCP = tcpDestinations(m)
	case *tcprbacv3.RBAC:
		s.network = append(s.network, guard{name: name, rbac: &rules{
			enforced: newRuleset(m.Rules), shadow: newRuleset(m.ShadowRules), shadowPrefix: m.ShadowRulesStatPrefix,
			filter: "envoy.filters.network.rbac", unsure: m.Matcher != nil,
		}})
	case *tcpextauthzv3.ExtAuthz:
		s.network = append(s.network, guard{name: name, asks: authorizer(m.GetGrpcService().GetEnvoyGrpc().GetClusterName(), name), when: m.FilterEnabledMetadata})
	default:
		if !harmless[name] {
			s.unsure = append(s.unsure, "network filter "+name)
		}
	}
}

// addHTTP takes one HTTP filter.
func (s *Stack) addHTTP(name string, config *anypb.Any) error {
	if config == nil {
		if !harmless[name] {
			return errNoConfig
		}
		return nil
	}
	if name == callerTeller {
		s.tellsCaller = true
		return nil
	}
	message, err := config.UnmarshalNew()
	if err != nil {
		message = nil
	}
	switch m := message.(type) {
	case *httprbacv3.RBAC:
		s.http = append(s.http, guard{name: name, rbac: &rules{
			enforced: newRuleset(m.Rules), shadow: newRuleset(m.ShadowRules), shadowPrefix: m.ShadowRulesStatPrefix,
			filter: "envoy.filters.http.rbac", unsure: m.Matcher != nil,
		}})
	case *jwtv3.JwtAuthentication:
		s.http = append(s.http, guard{name: name, jwt: m})
	case *extauthzv3.ExtAuthz:
		cluster := m.GetHttpService().GetServerUri().GetCluster()
		if cluster == "" {
			cluster = m.GetGrpcService().GetEnvoyGrpc().GetClusterName()
		}
		s.http = append(s.http, guard{name: name, asks: authorizer(cluster, name), when: m.FilterEnabledMetadata})
	default:
		if !harmless[name] {
			s.unsure = append(s.unsure, "filter "+name)
		}
	}
	return nil
}

func authorizer(cluster, filter string) string {
	if cluster == "" {
		return filter
	}
	return cluster
}

// callerTeller is the filter by which a waypoint writes x-forwarded-client-cert,
// before its policies and after the choice of a route, if its pods have the
// annotation ambient.istio.io/xfcc-include-client-identity.
const callerTeller = "istio.waypoint.xfcc_client_identity"

// harmless are the filters that istiod writes and that refuse nothing.
var harmless = map[string]bool{
	"envoy.filters.http.router": true, "envoy.filters.http.fault": true, "envoy.filters.http.cors": true,
	"envoy.filters.http.grpc_stats": true, "envoy.filters.http.grpc_web": true, "envoy.filters.http.set_filter_state": true,
	"envoy.filters.http.header_to_metadata": true, "envoy.filters.http.stateful_session": true, "envoy.filters.http.peer_metadata": true, "istio.stats": true,
	"istio.alpn": true, "istio.metadata_exchange": true, "istio_authn": true, "waypoint_upstream_peer_metadata": true,
	"waypoint_downstream_peer_metadata": true, "connect_authority": true, "envoy.filters.network.set_filter_state": true,
	"envoy.filters.network.metadata_exchange": true, "forward_downstream_sni": true, "envoy.filters.network.sni_cluster": true,
	"envoy.filters.network.http_connection_manager": true, "envoy.filters.network.tcp_proxy": true,
}

func tcpDestinations(p *tcpproxyv3.TcpProxy) []Destination {
	if c := p.GetCluster(); c != "" {
		return []Destination{{Cluster: c, Weight: 1, Percent: 100}}
	}
	var sum uint64
	for _, c := range p.GetWeightedClusters().GetClusters() {
		sum += uint64(c.Weight)
	}
	var out []Destination
	for _, c := range p.GetWeightedClusters().GetClusters() {
		out = append(out, Destination{Cluster: c.Name, Weight: c.Weight, Percent: 100 * float64(c.Weight) / float64(max(sum, 1))})
	}
	return out
}

// Routes returns the route configuration of an HTTP chain: its own, or that of
// the view; nil if the view does not have it.
func (s *Stack) Routes(view *traffic.View) *routev3.RouteConfiguration {
	if rc := s.HTTP.GetRouteConfig(); rc != nil {
		return rc
	}
	return view.Routes[s.HTTP.GetRds().GetRouteConfigName()]
}
