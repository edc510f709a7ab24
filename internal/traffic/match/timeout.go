package match

import (
	"strconv"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// defaultTimeout is Envoy's for routes that say nothing.
const defaultTimeout = 15 * time.Second

// timeouts are how a route bounds an answer (FilterUtility::finalTimeout).
type timeouts struct {
	// all is for the answer with all tries, 0 for ever.
	all time.Duration
	// grpc is set if calls of gRPC say themselves how long they wait, up to
	// longest, which is 0 for any time; offset is subtracted.
	grpc            bool
	longest, offset time.Duration
	// only bounds the try of a route that tries once; 0 if it does not.
	only time.Duration
	// stream bounds the whole stream, 0 for ever; nil leaves it to the connection
	// manager.
	stream *time.Duration
	// streamGRPC is set if a grpc-timeout bounds the stream instead, up to
	// streamLongest, which is 0 for any time; streamOffset is subtracted.
	streamGRPC                  bool
	streamLongest, streamOffset time.Duration
}

// grpcBounds are the fields by which istiod still bounds calls of gRPC although
// they are deprecated.
type grpcBounds interface {
	GetMaxGrpcTimeout() *durationpb.Duration
	GetGrpcTimeoutOffset() *durationpb.Duration
}

func timeoutsOf(a *routev3.RouteAction, policy *routev3.RetryPolicy) timeouts {
	t := timeouts{all: defaultTimeout}
	if a.Timeout != nil {
		t.all = a.Timeout.AsDuration()
	}
	var bounds grpcBounds = a
	switch {
	case a.MaxStreamDuration != nil:
		t.all = 0 // the stream is bounded instead
		t.boundStream(a.MaxStreamDuration)
	case bounds.GetMaxGrpcTimeout() != nil:
		t.grpc, t.longest, t.offset = true, bounds.GetMaxGrpcTimeout().AsDuration(), duration(bounds.GetGrpcTimeoutOffset())
	}
	if retriesOf(policy) == nil {
		t.only = duration(policy.GetPerTryTimeout())
	}
	return t
}

func (t *timeouts) boundStream(d *routev3.RouteAction_MaxStreamDuration) {
	if d.MaxStreamDuration != nil {
		bound := d.MaxStreamDuration.AsDuration()
		t.stream = &bound
	}
	t.streamGRPC = d.GrpcTimeoutHeaderMax != nil
	t.streamLongest, t.streamOffset = duration(d.GrpcTimeoutHeaderMax), duration(d.GrpcTimeoutHeaderOffset)
}

// ofStream returns how long the whole stream of a request may last; 0 means for
// ever. That of the connection manager is for routes that say nothing. Unlike
// timeouts of answers it does not depend on whether the request is gRPC.
func (t timeouts) ofStream(req *Request, manager time.Duration) (d time.Duration, doubt string) {
	if t.streamGRPC {
		if called, ok := grpcTimeout(req.first("grpc-timeout")); ok {
			return t.ofStreamCall(called)
		}
	}
	if t.stream != nil {
		return *t.stream, ""
	}
	return manager, ""
}

func (t timeouts) ofStreamCall(d time.Duration) (bound time.Duration, doubt string) {
	if t.streamLongest != 0 {
		d = min(d, t.streamLongest)
	}
	if d -= t.streamOffset; d <= 0 {
		return 0, "the call ends at once, unless it is answered as quickly"
	}
	return d, ""
}

// of returns how long the answer to a request may take; 0 means for ever.
func (t timeouts) of(req *Request) time.Duration {
	d := t.all
	if t.grpc && req.grpc() {
		d = t.ofCall(req)
	}
	if t.only > 0 && (d == 0 || t.only < d) {
		return t.only
	}
	return d
}

func (t timeouts) ofCall(req *Request) time.Duration {
	d, _ := grpcTimeout(req.first("grpc-timeout"))
	if t.offset < d {
		d -= t.offset
	}
	if t.longest != 0 && (d == 0 || d > t.longest) {
		return t.longest
	}
	return d
}

// grpcUnits are those of the grpc-timeout header.
var grpcUnits = map[byte]time.Duration{
	'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
}

// grpcTimeout reads a grpc-timeout header in whole milliseconds, rounded up; ok
// is false if it is none.
func grpcTimeout(v string) (d time.Duration, ok bool) {
	if v == "" {
		return 0, false
	}
	unit := grpcUnits[v[len(v)-1]]
	n, err := strconv.ParseInt(strings.TrimSpace(v[:len(v)-1]), 10, 64)
	if err != nil || n < 0 || n > 99_999_999 || unit == 0 {
		return 0, false
	}
	return (time.Duration(n)*unit + time.Millisecond - 1).Truncate(time.Millisecond), true
}
