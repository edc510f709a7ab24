package match

import (
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// Kind is what becomes of a request.
type Kind string

// The kinds of outcomes.
const (
	// Forward: the request goes to a destination.
	Forward Kind = "forward"
	// Redirect: Envoy answers with another location.
	Redirect Kind = "redirect"
	// Direct: Envoy answers itself, as the route says.
	Direct Kind = "direct"
	// Fault: Envoy answers with an injected failure, always.
	Fault Kind = "fault"
	// NoRoute: the host is known, but no route matches: 404.
	NoRoute Kind = "no-route"
	// NoHost: no virtual host takes the host: 404.
	NoHost Kind = "no-host"
	// BadRequest: Envoy refuses the request before routing.
	BadRequest Kind = "bad-request"
	// Preflight: Envoy answers a CORS preflight by the route's policy.
	Preflight Kind = "preflight"
)

// Outcome is what becomes of a request.
type Outcome struct {
	Kind Kind
	// Status is what Envoy answers itself; 0 if it forwards. A local answer to
	// a gRPC request has HTTP status 200 and GRPCStatus instead.
	Status int
	// GRPCStatus is the grpc-status of a local answer to a gRPC request; 0 for
	// everything else.
	GRPCStatus int
	// Why says what refused a request that is refused before routing.
	Why string
	// VirtualHost and Route are what was chosen; nil if nothing was.
	VirtualHost *routev3.VirtualHost
	Route       *routev3.Route
	// Path and Host are what the destination sees, or, if nothing is forwarded,
	// what the routes saw.
	Path string
	Host string
	// AutoHost says that the host becomes the name of the chosen endpoint.
	AutoHost bool
	// Body is what a direct response says, if it is written in the route.
	Body string
	// Location is where a redirect leads. Envoy also sends it with a direct
	// response of status 201 or 3xx.
	Location string
	// Destinations are all clusters that requests like this one go to, in the
	// order of the configuration, and Cluster the one that Request.Bucket picks.
	Destinations []Destination
	Cluster      string
	// Picked is the index of that one in Destinations, which may name a cluster
	// twice; -1 if none is picked.
	Picked int
	// MissingStatus is what Envoy answers to a request that it would forward if
	// the cluster is not there.
	MissingStatus int
	Treatment
	// Tried are the routes before Route, or all, and why they do not match.
	Tried []Tried
	// Unsure names what in the configuration is not understood although it may
	// decide; empty in what istiod writes by itself.
	Unsure []string
}

// Destination is a cluster and its share of the requests.
type Destination struct {
	Cluster string
	// ClusterHeader is set instead of Cluster if the request names the cluster.
	ClusterHeader string
	Weight        uint32
	// Percent is 0..100.
	Percent float64
	// Host is the host that this destination alone sees, if it has its own.
	Host string
	// RequestHeaders and ResponseHeaders are mutations of this destination
	// alone, before those of Treatment.
	RequestHeaders  []Mutation
	ResponseHeaders []Mutation
}

// Treatment is how a request fares on its way.
type Treatment struct {
	// Timeout is how long the answer may take; 0 means for ever.
	Timeout time.Duration
	// IdleTimeout is how long nothing may happen; 0 if the route says nothing.
	IdleTimeout time.Duration
	// MaxStreamDuration bounds a whole stream; 0 if nothing does.
	MaxStreamDuration time.Duration
	// Retries is nil if there are none.
	Retries *Retries
	// Fault is nil if none is injected.
	Fault *FaultPolicy
	// Mirrors are where copies go.
	Mirrors []Mirror
	// CORS is nil if the route has no policy.
	CORS *CORS
	// RequestHeaders and ResponseHeaders are mutations in the order in which
	// Envoy applies them: a later one wins.
	RequestHeaders  []Mutation
	ResponseHeaders []Mutation
	// Hash are what keeps a client at one endpoint, such as "header x-user".
	Hash []string
}

// Retries is how a request is tried again.
type Retries struct {
	// On are the conditions, as Envoy names them, separated by commas.
	On string
	// Attempts does not count the first.
	Attempts uint32
	// PerTry is the timeout of one attempt; 0 means that of the route.
	PerTry time.Duration
	// StatusCodes are retried if On has retriable-status-codes.
	StatusCodes []uint32
	// Headers is true if only some responses or requests are retried, by header.
	Headers bool
}

// FaultPolicy is what the fault filter injects. The two are independent.
type FaultPolicy struct {
	// AbortPercent is 0..100 and AbortStatus an HTTP status, or AbortGRPC a gRPC
	// status if AbortStatus is 0.
	AbortPercent float64
	AbortStatus  int
	AbortGRPC    uint32
	// DelayPercent is 0..100.
	DelayPercent float64
	Delay        time.Duration
}

// Mirror is where copies of requests go.
type Mirror struct {
	Cluster string
	// Percent is 0..100.
	Percent float64
}

// CORS is what a CORS policy says of a request.
type CORS struct {
	// Origins are the allowed origins in words.
	Origins []string
	// OriginAllowed tells whether the request's Origin is one of them.
	OriginAllowed    bool
	AllowMethods     string
	AllowHeaders     string
	ExposeHeaders    string
	MaxAge           string
	AllowCredentials bool
	// ForwardUnmatched says that preflights of other origins are forwarded.
	ForwardUnmatched bool
}

// MutationAction is what a Mutation does.
type MutationAction string

// The actions of header mutations.
const (
	Remove MutationAction = "remove"
	// Append adds another value, also if there is one.
	Append MutationAction = "append"
	// AddIfAbsent adds a value unless there is one.
	AddIfAbsent MutationAction = "add-if-absent"
	// Overwrite sets the value, also if there is none.
	Overwrite MutationAction = "overwrite"
	// OverwriteIfExists replaces a value if there is one.
	OverwriteIfExists MutationAction = "overwrite-if-exists"
)

// Mutation changes one header.
type Mutation struct {
	Action MutationAction
	Name   string
	// Value may have Envoy's command operators, such as %REQ(:path)%.
	Value string
}

// Tried is a route that does not match, and why: the first of its conditions
// that the request misses.
type Tried struct {
	Route *routev3.Route
	Why   string
}
