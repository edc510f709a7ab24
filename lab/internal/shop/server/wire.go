package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"mizzen.dev/mizzen/lab/internal/shop"
)

// The one method is shop.Shop/Call(google.protobuf.Struct) returns
// (google.protobuf.Struct): well-known types need no generated code. The
// request may have a "path", the answer is a shop.Reply. A failure has the
// Reply among its details.
const (
	serviceName = "shop.Shop"
	callMethod  = "/shop.Shop/Call"
	xfccHeader  = "X-Forwarded-Client-Cert"
)

func (s *Server) register(g *grpc.Server) {
	call := func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in := &structpb.Struct{}
		if err := decode(in); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		return s.grpcCall(ctx, in)
	}
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Call", Handler: call}},
	}, s)
}

func (s *Server) grpcCall(ctx context.Context, in *structpb.Struct) (*structpb.Struct, error) {
	header := http.Header{}
	md, _ := metadata.FromIncomingContext(ctx)
	for name, values := range md {
		header[http.CanonicalHeaderKey(name)] = values
	}
	from := ""
	if p, ok := peer.FromContext(ctx); ok {
		from = p.Addr.String()
	}
	reply := s.answer(ctx, "grpc", question{path: in.GetFields()["path"].GetStringValue(), from: from, header: header})
	out, err := toStruct(reply)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if !reply.Failed() {
		return out, nil
	}
	failure, err := status.New(toCode(reply.Status), reply.Error).WithDetails(out)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return nil, failure.Err()
}

func toStruct(r *shop.Reply) (*structpb.Struct, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	s := &structpb.Struct{}
	return s, s.UnmarshalJSON(data)
}

func fromStruct(s *structpb.Struct) (*shop.Reply, error) {
	data, err := s.MarshalJSON()
	if err != nil {
		return nil, err
	}
	r := &shop.Reply{}
	return r, json.Unmarshal(data, r)
}

// codeOf pairs HTTP's statuses with gRPC's codes, as
// https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
// does.
var codeOf = []struct {
	status int
	code   codes.Code
}{
	{http.StatusBadRequest, codes.InvalidArgument},
	{http.StatusUnauthorized, codes.Unauthenticated},
	{http.StatusForbidden, codes.PermissionDenied},
	{http.StatusNotFound, codes.NotFound},
	{http.StatusConflict, codes.Aborted},
	{http.StatusTooManyRequests, codes.ResourceExhausted},
	{http.StatusInternalServerError, codes.Internal},
	{http.StatusNotImplemented, codes.Unimplemented},
	{http.StatusServiceUnavailable, codes.Unavailable},
	{http.StatusBadGateway, codes.Unavailable},
	{http.StatusGatewayTimeout, codes.DeadlineExceeded},
}

func toCode(httpStatus int) codes.Code {
	for _, pair := range codeOf {
		if pair.status == httpStatus {
			return pair.code
		}
	}
	return codes.Unknown
}

func toStatus(code codes.Code) int {
	for _, pair := range codeOf {
		if pair.code == code {
			return pair.status
		}
	}
	return http.StatusInternalServerError
}

// dial returns a connection to the host of a grpc:// URL, which is made when
// it is first used.
func dial(u *url.URL) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient("dns:///"+u.Host,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		// gRPC's own waits up to two minutes for a server that is back.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}),
		// Neither from the environment nor from DNS.
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(shop.MaxBody)),
		// Without it, the port is lost from the authority that Envoy routes by.
		grpc.WithAuthority(u.Host))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u, err)
	}
	return conn, nil
}

// callGRPC calls the method by a connection and returns what it answered.
func callGRPC(ctx context.Context, conn *grpc.ClientConn, u *url.URL, header http.Header) *shop.Reply {
	in, err := structpb.NewStruct(map[string]any{"path": u.Path})
	if err != nil {
		return noAnswer(err)
	}
	for name, values := range header {
		for _, v := range values {
			ctx = metadata.AppendToOutgoingContext(ctx, strings.ToLower(name), v)
		}
	}
	out := &structpb.Struct{}
	if err := conn.Invoke(ctx, callMethod, in, out); err != nil {
		return failedCall(ctx, err)
	}
	reply, err := fromStruct(out)
	if err != nil {
		return noAnswer(err)
	}
	return reply
}

// failedCall returns the Reply that a shop put into the failure, or else says
// what gRPC, or a proxy on the way, says.
func failedCall(ctx context.Context, err error) *shop.Reply {
	failure := status.Convert(err)
	for _, detail := range failure.Details() {
		if s, ok := detail.(*structpb.Struct); ok {
			if reply, err := fromStruct(s); err == nil && reply.Failed() {
				return reply
			}
		}
	}
	if ctx.Err() != nil {
		return noAnswer(ctx.Err())
	}
	// The server knows the deadline, too, and may be the first to notice.
	if failure.Code() == codes.DeadlineExceeded {
		return noAnswer(fmt.Errorf("gRPC: %s: %w", failure.Message(), context.DeadlineExceeded))
	}
	return &shop.Reply{Status: toStatus(failure.Code()), Error: cut(fmt.Sprintf("gRPC %s: %s", failure.Code(), failure.Message()))}
}

// hostname of a listener's address, for logs.
func hostname(l net.Listener) string {
	if l == nil {
		return "off"
	}
	return l.Addr().String()
}
