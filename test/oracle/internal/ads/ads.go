// Package ads serves one fixed configuration to one Envoy over the
// state-of-the-world protocol of xDS, and tells what Envoy refused.
package ads

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sort"
	"strings"
	"sync"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretsvc "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

const (
	clusterType  = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	listenerType = "type.googleapis.com/envoy.config.listener.v3.Listener"
	routeType    = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	secretType   = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
)

// Snapshot is all that one Envoy is to run.
type Snapshot struct {
	Clusters  []*clusterv3.Cluster
	Listeners []*listenerv3.Listener
	Routes    []*routev3.RouteConfiguration
	Secrets   []*tlsv3.Secret
}

// Server serves a Snapshot on a loopback port: clusters, listeners and routes
// over one stream, and secrets as istiod's "sds-grpc" references ask for them.
type Server struct {
	discovery.UnimplementedAggregatedDiscoveryServiceServer
	secretsvc.UnimplementedSecretDiscoveryServiceServer

	// Address is "127.0.0.1:port".
	Address string

	grpc      *grpc.Server
	resources map[string]map[string]*anypb.Any

	mu       sync.Mutex
	answered map[string]bool // types that Envoy acknowledged or refused
	open     int             // answers that Envoy has not acknowledged or refused
	refused  []string
	missing  map[string]bool
	changed  chan struct{}
}

// Serve starts a server for s.
func Serve(s Snapshot) (*Server, error) {
	server := &Server{
		grpc: grpc.NewServer(), answered: map[string]bool{}, missing: map[string]bool{},
		changed: make(chan struct{}, 1), resources: map[string]map[string]*anypb.Any{},
	}
	if err := server.pack(s); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("ads: %w", err)
	}
	server.Address = listener.Addr().String()
	discovery.RegisterAggregatedDiscoveryServiceServer(server.grpc, server)
	secretsvc.RegisterSecretDiscoveryServiceServer(server.grpc, server)
	go func() { _ = server.grpc.Serve(listener) }() // ends with Close
	return server, nil
}

// Close ends the server and its streams.
func (s *Server) Close() { s.grpc.Stop() }

func (s *Server) pack(snapshot Snapshot) error {
	return errors.Join(
		pack(s, clusterType, snapshot.Clusters, (*clusterv3.Cluster).GetName),
		pack(s, listenerType, snapshot.Listeners, (*listenerv3.Listener).GetName),
		pack(s, routeType, snapshot.Routes, (*routev3.RouteConfiguration).GetName),
		pack(s, secretType, snapshot.Secrets, (*tlsv3.Secret).GetName),
	)
}

// pack keeps resources of one type by name.
func pack[T proto.Message](s *Server, kind string, list []T, name func(T) string) error {
	s.resources[kind] = map[string]*anypb.Any{}
	for _, m := range list {
		packed, err := anypb.New(m)
		if err != nil {
			return fmt.Errorf("ads: %s %s: %w", kind, name(m), err)
		}
		if s.resources[kind][name(m)] != nil {
			return fmt.Errorf("ads: %s %s is there twice", kind, name(m))
		}
		s.resources[kind][name(m)] = packed
	}
	return nil
}

// Wait returns when Envoy has answered for clusters and listeners; the routes
// and secrets that listeners name are asked for after that, and no listener
// opens before it has them: see Refused once requests are possible.
func (s *Server) Wait(ctx context.Context) error {
	for {
		s.mu.Lock()
		done := s.answered[clusterType] && s.answered[listenerType] || len(s.refused) > 0
		s.mu.Unlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("envoy has not acknowledged its configuration: %w", ctx.Err())
		case <-s.changed:
		}
	}
}

// Settled tells whether Envoy has acknowledged or refused all that it got.
func (s *Server) Settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open == 0
}

// Refused returns what Envoy refused and why, and what it asked for in vain,
// in a fixed order.
func (s *Server) Refused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.Clone(s.refused)
	for name := range s.missing {
		out = append(out, "asked for, but not there: "+name)
	}
	sort.Strings(out)
	return out
}

// StreamAggregatedResources serves clusters, listeners and routes.
func (s *Server) StreamAggregatedResources(stream discovery.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return s.stream(stream)
}

// StreamSecrets serves certificates.
func (s *Server) StreamSecrets(stream secretsvc.SecretDiscoveryService_StreamSecretsServer) error {
	return s.stream(stream)
}

type stream interface {
	Send(*discovery.DiscoveryResponse) error
	Recv() (*discovery.DiscoveryRequest, error)
}

// stream answers each request whose names are new; what repeats the names is
// the answer to the answer.
func (s *Server) stream(to stream) error {
	sent := map[string]string{}
	for {
		request, err := to.Recv()
		if err != nil {
			return err
		}
		kind := request.TypeUrl
		if request.ResponseNonce != "" {
			s.answer(kind, request)
		}
		names := slices.Clone(request.ResourceNames)
		sort.Strings(names)
		key := strings.Join(names, "\n")
		if last, ok := sent[kind]; ok && last == key {
			continue
		}
		sent[kind] = key
		response := &discovery.DiscoveryResponse{TypeUrl: kind, VersionInfo: "1", Nonce: "1", Resources: s.pick(kind, names)}
		s.mu.Lock()
		s.open++
		s.mu.Unlock()
		if err := to.Send(response); err != nil {
			return err
		}
	}
}

func (s *Server) answer(kind string, request *discovery.DiscoveryRequest) {
	s.mu.Lock()
	s.answered[kind] = true
	s.open--
	if request.ErrorDetail != nil {
		s.refused = append(s.refused, fmt.Sprintf("%s: %s", kind[strings.LastIndexByte(kind, '.')+1:], request.ErrorDetail.Message))
	}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// pick returns the named resources in order; without names, all of them.
func (s *Server) pick(kind string, names []string) []*anypb.Any {
	have := s.resources[kind]
	if len(names) == 0 && (kind == clusterType || kind == listenerType) {
		for name := range have {
			names = append(names, name)
		}
		sort.Strings(names)
	}
	var out []*anypb.Any
	for _, name := range names {
		if m := have[name]; m != nil {
			out = append(out, m)
			continue
		}
		s.mu.Lock()
		s.missing[kind+" "+name] = true
		s.mu.Unlock()
	}
	return out
}
