package runnable

import (
	"slices"
	"strings"

	udpa "github.com/cncf/xds/go/udpa/type/v1"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	statev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	headerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// probes are headers that the outermost filter adds to every answer, Envoy's
// own answers included: they tell why it was given.
var probes = [][2]string{
	{"x-o-attempts", "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"},
	{"x-o-chain", "%FILTER_CHAIN_NAME%"},
	{"x-o-cluster", "%UPSTREAM_CLUSTER_RAW%"},
	{"x-o-details", "%RESPONSE_CODE_DETAILS%"},
	{"x-o-flags", "%RESPONSE_FLAGS%"},
	{"x-o-route", "%ROUTE_NAME%"},
}

// ofIstio tells whether an extension is only in Istio's own build of Envoy.
// None of them chooses where a request goes.
func ofIstio(name string, config *anypb.Any) bool {
	if config.MessageIs(&headerv3.HeaderMutation{}) {
		return false // whatever Istio calls it
	}
	url := config.GetTypeUrl()
	if wrapped := (&udpa.TypedStruct{}); config.MessageIs(wrapped) && config.UnmarshalTo(wrapped) == nil {
		url = wrapped.TypeUrl
	}
	return strings.HasPrefix(name, "istio.") || strings.Contains(url, "/istio.") || strings.Contains(url, "/io.istio.") ||
		strings.Contains(url, "metadataexchange") || strings.Contains(url, "peer_metadata") || strings.Contains(url, "filter.http.alpn")
}

// originalDst asks the kernel where a connection was to go.
const originalDst = "envoy.filters.listener.original_dst"

// announced tells whether a client is to announce its connections to a listener:
// if a kernel redirects them, or if they are the tunnels of a waypoint.
func announced(l *listenerv3.Listener, side Side) bool {
	if l.GetInternalListener() != nil {
		return false
	}
	return side == Waypoint || l.UseOriginalDst.GetValue() ||
		slices.ContainsFunc(l.ListenerFilters, func(f *listenerv3.ListenerFilter) bool { return f.Name == originalDst })
}

// listener makes a listener runnable and notes the secrets that it names.
func (c *Config) listener(l *listenerv3.Listener, side Side, secrets map[string]bool) (*listenerv3.Listener, error) {
	l = proto.CloneOf(l)
	internal := l.GetInternalListener() != nil
	var filters []*listenerv3.ListenerFilter
	for _, f := range l.ListenerFilters {
		// Inside of Envoy, a tunnel says what a kernel would.
		if (internal || f.Name != originalDst) && !ofIstio(f.Name, f.GetTypedConfig()) {
			filters = append(filters, f)
		}
	}
	switch {
	case announced(l, side):
		filter, err := proxyProtocol()
		if err != nil {
			return nil, err
		}
		filters = append([]*listenerv3.ListenerFilter{filter}, filters...)
		c.Root, l.Address, l.AdditionalAddresses = l.Name, loopback(), nil
	case side == Gateway:
		l.BindToPort = wrapperspb.Bool(false)
	}
	l.ListenerFilters, l.AccessLog = filters, nil
	for _, chain := range append(l.FilterChains, l.DefaultFilterChain) {
		if err := fixChain(chain); err != nil {
			return nil, err
		}
	}
	return l, walk(l, func(m proto.Message) { adapt(m, secrets, internal) })
}

// adapt notes a secret, names the stock factory for one of Istio's, or makes an
// address the one that PROXY announces, unless the listener is inside of Envoy.
func adapt(m proto.Message, secrets map[string]bool, internal bool) {
	switch x := m.(type) {
	case *tlsv3.SdsSecretConfig:
		secrets[x.Name] = true
	case *statev3.FilterStateValue:
		if x.FactoryKey == "istio.hashable_string" {
			x.FactoryKey = "envoy.hashable_string"
		}
	case *rbacv3.Principal:
		// It is always the socket's own peer; source_ip is whom PROXY announces.
		if ip := x.GetDirectRemoteIp(); ip != nil && !internal {
			x.Identifier = &rbacv3.Principal_SourceIp{SourceIp: ip} //nolint:staticcheck // SA1019: only the deprecated field obeys PROXY.
		}
	}
}

// fixChain takes Istio's own filters and logs out, and puts the probe in.
func fixChain(chain *listenerv3.FilterChain) error {
	if chain == nil {
		return nil
	}
	var filters []*listenerv3.Filter
	for _, f := range chain.Filters {
		if ofIstio(f.Name, f.GetTypedConfig()) {
			continue
		}
		if err := inConnectionManager(f, fixConnectionManager); err != nil {
			return err
		}
		filters = append(filters, f)
	}
	chain.Filters = filters
	return nil
}

// inConnectionManager changes f if it is an HTTP connection manager.
func inConnectionManager(f *listenerv3.Filter, change func(*hcmv3.HttpConnectionManager) error) error {
	manager := &hcmv3.HttpConnectionManager{}
	if !f.GetTypedConfig().MessageIs(manager) {
		return nil
	}
	if err := f.GetTypedConfig().UnmarshalTo(manager); err != nil {
		return err
	}
	if err := change(manager); err != nil {
		return err
	}
	return f.GetTypedConfig().MarshalFrom(manager)
}

func fixConnectionManager(m *hcmv3.HttpConnectionManager) error {
	mutations := &headerv3.Mutations{}
	for _, p := range probes {
		mutations.ResponseMutations = append(mutations.ResponseMutations, &mutationv3.HeaderMutation{
			Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
				Header:       &corev3.HeaderValue{Key: p[0], Value: p[1]},
				AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			}},
		})
	}
	probe, err := anypb.New(&headerv3.HeaderMutation{Mutations: mutations})
	if err != nil {
		return err
	}
	filters := []*hcmv3.HttpFilter{{Name: "oracle.probe", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: probe}}}
	for _, f := range m.HttpFilters {
		if !ofIstio(f.Name, f.GetTypedConfig()) {
			filters = append(filters, f)
		}
	}
	m.HttpFilters, m.AccessLog, m.Tracing = filters, nil, nil
	if r := m.GetRouteConfig(); r != nil {
		m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: repeatable(r)}
	}
	return nil
}

// nameInline returns a listener whose inline routes have names of their own.
func nameInline(l *listenerv3.Listener) *listenerv3.Listener {
	l = proto.CloneOf(l)
	for _, chain := range append(l.FilterChains, l.DefaultFilterChain) {
		for _, f := range chain.GetFilters() {
			// What cannot be read is refused by Envoy, which is the test.
			_ = inConnectionManager(f, func(m *hcmv3.HttpConnectionManager) error {
				if r := m.GetRouteConfig(); r != nil {
					m.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: nameRoutes(r)}
				}
				return nil
			})
		}
	}
	return l
}
