package mizzen

// TraceFate is what becomes of a request, in one word.
type TraceFate string

// The fates of a request.
const (
	// FateServed: a workload, or a server outside of the mesh, gets it; or the
	// mesh answers it as it was told to, with a redirect or a success.
	FateServed TraceFate = "served"
	// FateFails: the caller gets an error that no workload sent.
	FateFails TraceFate = "fails"
	// FatePartly: some requests like this one are served and some fail.
	FatePartly TraceFate = "partly"
	// FateUnknown: something decides that the configuration does not tell, such
	// as an external authorizer.
	FateUnknown TraceFate = "unknown"
)

// Trace is what a mesh does with one request, hop by hop.
type Trace struct {
	Request TraceRequest `json:"request"`
	Fate    TraceFate    `json:"fate"`
	// Outcomes are what callers get who send this request many times, the most
	// frequent first. Their percentages add up to 100.
	Outcomes []TraceOutcome `json:"outcomes"`
	// Hops are the proxies and servers on the way, the caller's first.
	Hops []TraceHop `json:"hops"`
	// Notes are what a reader should know of the answer, each a sentence
	// without a final stop.
	Notes []string `json:"notes,omitempty"`
}

// TraceRequest is the request that was asked about, and what was made of it.
type TraceRequest struct {
	// From is the caller as it was asked for; Caller is the workload that this
	// means, empty for one outside of the mesh.
	From    string        `json:"from"`
	Caller  string        `json:"caller,omitempty"`
	Method  string        `json:"method,omitempty"` // none for tcp and tls
	URL     string        `json:"url"`
	Headers []TraceHeader `json:"headers,omitempty"`
	// Host and Port are where the URL leads: the full name of a Service or the
	// host of a ServiceEntry, and a port of 1..65535.
	Host string `json:"host"`
	Port uint32 `json:"port"`
}

// TraceHeader is one header of a request or one that the mesh changes.
type TraceHeader struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
	// Action is "set", "append" or "remove"; empty in a request.
	Action string `json:"action,omitempty"`
	// On is what is changed: "request" or "response"; empty in a request.
	On string `json:"on,omitempty"`
}

// TraceOutcome is what a part of such requests ends in.
type TraceOutcome struct {
	// Percent is 0..100.
	Percent float64   `json:"percent"`
	Fate    TraceFate `json:"fate"`
	// Status is the HTTP status that the mesh answers; 0 where the server
	// answers, and where a connection breaks without an answer.
	Status int `json:"status,omitempty"`
	// By is who serves or refuses: a workload, a gateway, a host.
	By string `json:"by,omitempty"`
	// Message says why, as a sentence without a final stop.
	Message string    `json:"message"`
	Rule    TraceRule `json:"rule,omitzero"`
}

// TraceRule is the part of an object that decides, and where it was written.
type TraceRule struct {
	Ref Ref `json:"ref"`
	// Path is the field, such as spec.http[1]; empty for the whole object.
	Path   Path   `json:"path,omitempty"`
	Origin Origin `json:"origin,omitzero"`
}

// TraceDirection says which side of a connection a hop is on.
type TraceDirection string

// The directions of a hop.
const (
	// TraceOutbound: the proxy of the caller, or the caller itself.
	TraceOutbound TraceDirection = "outbound"
	// TraceInbound: the proxy of the server, or the server itself.
	TraceInbound TraceDirection = "inbound"
	// TraceGateway: a gateway, which takes in and sends on.
	TraceGateway TraceDirection = "gateway"
	// TraceWaypoint: a waypoint, on the way to the services behind it.
	TraceWaypoint TraceDirection = "waypoint"
)

// TraceHop is one proxy on the way and what it decides.
type TraceHop struct {
	// Workload is whose proxy it is.
	Workload  string         `json:"workload"`
	Direction TraceDirection `json:"direction"`
	// Proxy is false for a workload without one: nothing is decided there.
	Proxy bool `json:"proxy"`
	// Ztunnel tells that the proxy is the node's, of the ambient mesh, and no
	// sidecar.
	Ztunnel bool `json:"ztunnel,omitempty"`
	// Percent of all such requests that come here, 0..100.
	Percent float64 `json:"percent"`
	// Listener and FilterChain are Envoy's names of what takes the connection.
	Listener    string `json:"listener,omitempty"`
	FilterChain string `json:"filterChain,omitempty"`
	// Security is how the connection arrives: "plaintext", "mTLS" or "TLS"; Peer
	// is the caller's identity that mTLS proves.
	Security string `json:"security,omitempty"`
	Peer     string `json:"peer,omitempty"`
	// Accepts is what an inbound port takes: "mTLS", "plaintext", or both.
	Accepts []string `json:"accepts,omitempty"`
	// VirtualHost and Route are Envoy's names of what was chosen; Rule is what
	// wrote the route.
	VirtualHost string    `json:"virtualHost,omitempty"`
	Route       string    `json:"route,omitempty"`
	Rule        TraceRule `json:"rule,omitzero"`
	// Tried are the rules before it, in order, and why they did not match.
	Tried     []TraceTried   `json:"tried,omitempty"`
	Treatment TraceTreatment `json:"treatment,omitzero"`
	// Policies are the authorization and token rules that were asked, in order.
	// None means that no rule restricts who may call.
	Policies []TracePolicy `json:"policies,omitempty"`
	// Destinations are where the hop sends the request, with their shares.
	Destinations []TraceDestination `json:"destinations,omitempty"`
	// Port is where the application gets it; 0 where it does not.
	Port uint32 `json:"port,omitempty"`
	// Answer is what the hop answers instead of sending the request on.
	Answer string `json:"answer,omitempty"`
}

// TraceTried is a rule that did not match.
type TraceTried struct {
	Route  string    `json:"route,omitempty"`
	Rule   TraceRule `json:"rule,omitzero"`
	Reason string    `json:"reason"`
}

// TraceTreatment is what a rule does to a request beside sending it on.
type TraceTreatment struct {
	// TimeoutMilliseconds is 0 for none.
	TimeoutMilliseconds int64         `json:"timeoutMilliseconds,omitempty"`
	Retries             *TraceRetries `json:"retries,omitempty"`
	// Path and Host are as the server sees them, where they are rewritten.
	Path    string        `json:"path,omitempty"`
	Host    string        `json:"host,omitempty"`
	Mirrors []TraceMirror `json:"mirrors,omitempty"`
	Delay   *TraceFault   `json:"delay,omitempty"`
	Abort   *TraceFault   `json:"abort,omitempty"`
	Headers []TraceHeader `json:"headers,omitempty"`
}

// TraceRetries is how often, and on what, a request is tried again.
type TraceRetries struct {
	Attempts           uint32   `json:"attempts"`
	On                 []string `json:"on,omitempty"`
	PerTryMilliseconds int64    `json:"perTryMilliseconds,omitempty"`
}

// TraceMirror is where copies of requests go; nobody waits for their answers.
type TraceMirror struct {
	Host    string  `json:"host"`
	Port    uint32  `json:"port,omitempty"`
	Subset  string  `json:"subset,omitempty"`
	Percent float64 `json:"percent"`
}

// TraceFault is a failure that is injected on purpose: a delay in milliseconds,
// or a status.
type TraceFault struct {
	Percent      float64 `json:"percent"`
	Milliseconds int64   `json:"milliseconds,omitempty"`
	Status       int     `json:"status,omitempty"`
}

// TracePolicy is an authorization or token rule that was asked.
type TracePolicy struct {
	// Name is Envoy's, where no object wrote it.
	Name string    `json:"name,omitempty"`
	Rule TraceRule `json:"rule,omitzero"`
	// Action is "ALLOW", "DENY", "AUDIT", "CUSTOM", "JWT", or "FILTER" for
	// something that is not understood.
	Action string `json:"action"`
	// Result is "allows", "denies", "does not match", "audits", "would allow" or
	// "would deny" (in dry run), or "unknown".
	Result string `json:"result"`
	Reason string `json:"reason,omitempty"`
}

// TraceDestination is one of the places that a route sends requests to.
type TraceDestination struct {
	// Percent of the requests at this hop, 0..100.
	Percent float64 `json:"percent"`
	// Cluster is Envoy's name; Host, Port and Subset are what it means.
	Cluster string `json:"cluster"`
	Host    string `json:"host,omitempty"`
	Port    uint32 `json:"port,omitempty"`
	Subset  string `json:"subset,omitempty"`
	// Origin is where the rule of the hop names it.
	Origin Origin `json:"origin,omitzero"`
	// Headers are those that change on this way alone.
	Headers []TraceHeader `json:"headers,omitempty"`
	// Rule is the DestinationRule that shapes it.
	Rule TraceRule `json:"rule,omitzero"`
	// Workloads get equal shares of it, as far as the configuration tells.
	Workloads []TraceEndpoint `json:"workloads,omitempty"`
	// Fails says why no request gets there; empty if they do.
	Fails string `json:"fails,omitempty"`
}

// TraceEndpoint is a workload behind a destination.
type TraceEndpoint struct {
	Workload string  `json:"workload"`
	Percent  float64 `json:"percent"`
	// Security is how the connection is made: "plaintext", "mTLS" or "TLS".
	Security string `json:"security"`
}
