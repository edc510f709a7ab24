package trial

import (
	"crypto/tls"
	"fmt"
	"slices"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"mizzen.dev/mizzen/internal/traffic/match"
	"mizzen.dev/mizzen/test/oracle/internal/client"
	"mizzen.dev/mizzen/test/oracle/internal/runnable"
)

// Target is a place that takes HTTP: how to reach it, and what decides there.
type Target struct {
	Name    string
	Peer    client.Peer
	Config  *routev3.RouteConfiguration
	Options match.Options

	router   *match.Router
	clusters map[string]bool
	port     uint32
}

// With returns a target that decides by another configuration and options.
func (t *Target) With(rc *routev3.RouteConfiguration, o match.Options) *Target {
	other := *t
	other.Config, other.Options, other.router = rc, o, match.NewRouter(rc)
	return &other
}

const (
	// source and stranger are addresses of a client and of a destination that
	// no object names.
	source   = "10.244.0.99:40000"
	stranger = "10.99.0.1"
)

// targets finds the HTTP connection managers of a side's listeners, and for
// each an address and a server name that lead there. A waypoint, which is reached
// by tunnels, gets calls alone.
func (t *Trial) targets() ([]*Target, error) {
	listeners := t.view.Inbound
	switch t.side {
	case runnable.Outbound:
		listeners = t.view.Outbound
	case runnable.Waypoint:
		listeners = nil
	}
	var out []*Target
	for _, l := range listeners {
		for _, chain := range append(slices.Clone(l.FilterChains), l.DefaultFilterChain) {
			manager, err := managerOf(chain)
			if err != nil {
				return nil, fmt.Errorf("listener %s: %w", l.Name, err)
			}
			if manager == nil {
				continue
			}
			rc := manager.GetRouteConfig()
			if r := manager.GetRds(); r != nil {
				rc = t.view.Routes[r.RouteConfigName]
			}
			if rc == nil {
				return nil, fmt.Errorf("listener %s has no routes", l.Name)
			}
			target := &Target{Options: match.OptionsOf(manager), clusters: t.clusters}
			target.Options.WithoutTried = true
			target.reach(l, chain)
			out = append(out, target.With(rc, target.Options))
		}
	}
	return out, nil
}

// reach sets how a client comes to a filter chain.
func (t *Target) reach(l *listenerv3.Listener, chain *listenerv3.FilterChain) {
	address := l.GetAddress().GetSocketAddress()
	ip := address.GetAddress()
	if ip == "0.0.0.0" {
		ip = stranger
	}
	t.port = address.GetPortValue()
	if p := chain.GetFilterChainMatch().GetDestinationPort().GetValue(); p != 0 {
		t.port = p
	}
	t.Peer = client.Peer{Source: source, Destination: fmt.Sprintf("%s:%d", ip, t.port)}
	t.Name = fmt.Sprintf("%s at %s", l.Name, t.Peer.Destination)
	names := chain.GetFilterChainMatch().GetServerNames()
	if len(names) > 0 {
		t.Name += " for " + names[0]
		t.Peer.TLS = &tls.Config{ServerName: concrete(names[0]), InsecureSkipVerify: true}
	}
}

// concrete returns a name that a wildcard takes.
func concrete(name string) string {
	if len(name) > 0 && name[0] == '*' {
		return "a" + name[1:]
	}
	return name
}

// managerOf returns the HTTP connection manager of a filter chain; nil if it
// has none.
func managerOf(chain *listenerv3.FilterChain) (*hcmv3.HttpConnectionManager, error) {
	for _, f := range chain.GetFilters() {
		manager := &hcmv3.HttpConnectionManager{}
		if !f.GetTypedConfig().MessageIs(manager) {
			continue
		}
		if err := f.GetTypedConfig().UnmarshalTo(manager); err != nil {
			return nil, err
		}
		return manager, nil
	}
	return nil, nil
}
