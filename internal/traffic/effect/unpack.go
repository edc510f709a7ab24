package effect

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// unpack decodes an Any into a message of its type; ok is false if it holds
// another type or is broken.
func unpack[T proto.Message](a *anypb.Any, into T) (T, bool) {
	if a == nil || a.UnmarshalTo(into) != nil {
		return into, false
	}
	return into, true
}

// httpManager returns the HTTP connection manager of a filter chain, or nil.
func httpManager(chain *listenerv3.FilterChain) *hcmv3.HttpConnectionManager {
	for _, f := range chain.GetFilters() {
		if m, ok := unpack(f.GetTypedConfig(), &hcmv3.HttpConnectionManager{}); ok {
			return m
		}
	}
	return nil
}

// tcpProxy returns the TCP proxy of a filter chain, or nil.
func tcpProxy(chain *listenerv3.FilterChain) *tcpv3.TcpProxy {
	for _, f := range chain.GetFilters() {
		if m, ok := unpack(f.GetTypedConfig(), &tcpv3.TcpProxy{}); ok {
			return m
		}
	}
	return nil
}

// chains returns the filter chains of a listener, the default one last.
func chains(l *listenerv3.Listener) []*listenerv3.FilterChain {
	out := l.GetFilterChains()
	if d := l.GetDefaultFilterChain(); d != nil {
		out = append(out[:len(out):len(out)], d)
	}
	return out
}
