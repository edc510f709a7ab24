package trace

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"mizzen.dev/mizzen/internal/traffic/match"
)

func (t *tracer) admit(l *leg, chain *listenerv3.FilterChain, peer match.Peer) bool { return true }
