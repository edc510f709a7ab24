// Package spans stands in for Jaeger where that is too much to build. Spans come
// in as proxies send them, by OTLP over gRPC; out go services and traces over
// HTTP, in as much of the form of Jaeger's query API as the lab uses. The latest
// spans stay in memory.
package spans

import (
	"context"
	"encoding/hex"
	"slices"
	"sync"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

// most is how many spans are kept: some 20 MB. The lab's shop makes 13 of a
// request.
const most = 50_000

// span is what is kept of a span.
type span struct {
	id, parent, name, service string
	// start and duration are in nanoseconds, the former since 1970.
	start, duration uint64
}

// Store has the latest spans.
type Store struct {
	mu     sync.Mutex
	traces map[string][]span
	// order are the traces by their first arrival.
	order []string
	count int
	most  int
}

// New returns an empty Store.
func New() *Store { return &Store{traces: map[string][]span{}, most: most} }

// Register makes a server take spans: the method Export of OTLP's TraceService
// (https://opentelemetry.io/docs/specs/otlp/#otlpgrpc), whose request is what
// TracesData is on the wire, and whose answer is empty if all is well.
func (s *Store) Register(g *grpc.Server) {
	export := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := &tracepb.TracesData{}
		if err := decode(in); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		s.add(in)
		return &emptypb.Empty{}, nil
	}
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: "opentelemetry.proto.collector.trace.v1.TraceService",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Export", Handler: export}},
	}, s)
}

func (s *Store) add(data *tracepb.TracesData) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range data.GetResourceSpans() {
		service := serviceOf(resource)
		for _, scope := range resource.GetScopeSpans() {
			for _, p := range scope.GetSpans() {
				s.keep(hex.EncodeToString(p.GetTraceId()), span{
					id: hex.EncodeToString(p.GetSpanId()), parent: hex.EncodeToString(p.GetParentSpanId()),
					name: p.GetName(), service: service,
					start: p.GetStartTimeUnixNano(), duration: p.GetEndTimeUnixNano() - p.GetStartTimeUnixNano(),
				})
			}
		}
	}
}

// keep adds a span, and drops the oldest traces if there are too many.
func (s *Store) keep(trace string, p span) {
	if len(s.traces[trace]) == 0 {
		s.order = append(s.order, trace)
	}
	s.traces[trace] = append(s.traces[trace], p)
	for s.count++; s.count > s.most; {
		s.count -= len(s.traces[s.order[0]])
		delete(s.traces, s.order[0])
		s.order = s.order[1:]
	}
}

// serviceOf is the name that a proxy gives to what it stands before.
func serviceOf(r *tracepb.ResourceSpans) string {
	for _, a := range r.GetResource().GetAttributes() {
		if a.GetKey() == "service.name" {
			return a.GetValue().GetStringValue()
		}
	}
	return "unknown"
}

// services are the names of all that have spans, sorted.
func (s *Store) services() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := []string{}
	for _, trace := range s.traces {
		for _, p := range trace {
			names = append(names, p.service)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// found is a trace that was asked for.
type found struct {
	id    string
	spans []span
}

// of returns the latest traces that a service has a part in, at most limit.
func (s *Store) of(service string, limit int) []found {
	s.mu.Lock()
	defer s.mu.Unlock()
	var traces []found
	for _, id := range slices.Backward(s.order) {
		if len(traces) == limit {
			break
		}
		if slices.ContainsFunc(s.traces[id], func(p span) bool { return p.service == service }) {
			traces = append(traces, found{id, slices.Clone(s.traces[id])})
		}
	}
	return traces
}
