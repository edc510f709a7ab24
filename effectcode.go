package mizzen

// EffectCode is the stable name of a kind of Effect: MT and four digits. A code
// is never given another meaning, and never reused.
type EffectCode string

// The codes of Effects. 1xxx: where requests go; 2xxx: how they are treated on
// the way; 3xxx: security; 4xxx: exposure; 5xxx: observation; 6xxx: what the
// model cannot tell.
const (
	// EffectDestination: requests go to another workload or subset.
	EffectDestination EffectCode = "MT1001"
	// EffectWeights: the shares of the destinations change.
	EffectWeights EffectCode = "MT1002"
	// EffectFails: requests that were served get 404, 503 or another refusal.
	EffectFails EffectCode = "MT1003"
	// EffectServed: requests that were refused are served.
	EffectServed EffectCode = "MT1004"
	// EffectHostAdded: a host becomes known to callers.
	EffectHostAdded EffectCode = "MT1005"
	// EffectHostRemoved: a host is no longer known to callers.
	EffectHostRemoved EffectCode = "MT1006"
	// EffectShadowed: a rule can never match, since one before it always does.
	EffectShadowed EffectCode = "MT1007"
	// EffectIgnored: istiod ignores an object, or a part of it.
	EffectIgnored EffectCode = "MT1008"
	// EffectConflict: two objects speak for one host, and one loses.
	EffectConflict EffectCode = "MT1009"

	// EffectTimeout: the time a request may take changes.
	EffectTimeout EffectCode = "MT2001"
	// EffectRetries: how often, or on what, a request is tried again.
	EffectRetries EffectCode = "MT2002"
	// EffectFault: failures or delays are injected, or no longer.
	EffectFault EffectCode = "MT2003"
	// EffectMirror: copies of requests go elsewhere, or no longer.
	EffectMirror EffectCode = "MT2004"
	// EffectRewrite: path or host as the server sees them, or a redirect.
	EffectRewrite EffectCode = "MT2005"
	// EffectHeaders: headers are added, set or removed.
	EffectHeaders EffectCode = "MT2006"
	// EffectCORS: which other origins may call from a browser.
	EffectCORS EffectCode = "MT2007"
	// EffectCircuitBreaker: connection pool and request limits.
	EffectCircuitBreaker EffectCode = "MT2008"
	// EffectOutlier: when an endpoint is taken out.
	EffectOutlier EffectCode = "MT2009"
	// EffectLoadBalancing: how an endpoint is chosen.
	EffectLoadBalancing EffectCode = "MT2010"
	// EffectRoutePolicy: another treatment of requests, told by field.
	EffectRoutePolicy EffectCode = "MT2011"
	// EffectArrival: how a proxy takes requests in before it routes them: which
	// it refuses, how it reads paths, what it believes of headers.
	EffectArrival EffectCode = "MT2012"

	// EffectMTLSWeaker: a workload's port takes plaintext that it refused.
	EffectMTLSWeaker EffectCode = "MT3001"
	// EffectMTLSStronger: a workload's port refuses plaintext that it took.
	EffectMTLSStronger EffectCode = "MT3002"
	// EffectTLSMismatch: callers speak what the server refuses.
	EffectTLSMismatch EffectCode = "MT3003"
	// EffectAuthorizationWider: somebody may do what was denied.
	EffectAuthorizationWider EffectCode = "MT3004"
	// EffectAuthorizationNarrower: somebody may no longer do what was allowed.
	EffectAuthorizationNarrower EffectCode = "MT3005"
	// EffectJWT: which tokens are asked for or believed.
	EffectJWT EffectCode = "MT3006"
	// EffectClientTLS: how callers secure their connections.
	EffectClientTLS EffectCode = "MT3007"
	// EffectInjectionOff: new pods of a namespace get no sidecar.
	EffectInjectionOff EffectCode = "MT3008"
	// EffectInjectionOn: new pods of a namespace get a sidecar.
	EffectInjectionOn EffectCode = "MT3009"
	// EffectBypass: what a workload sends or gets is led past its sidecar.
	EffectBypass EffectCode = "MT3010"
	// EffectBypassEnds: what was led past a sidecar passes it.
	EffectBypassEnds EffectCode = "MT3011"

	// EffectExposed: a gateway serves a host or path that it did not.
	EffectExposed EffectCode = "MT4001"
	// EffectWithdrawn: a gateway no longer serves a host or path.
	EffectWithdrawn EffectCode = "MT4002"
	// EffectCertificate: certificate, TLS version or mode at a gateway.
	EffectCertificate EffectCode = "MT4003"
	// EffectEgressOpened: workloads reach hosts outside that they did not.
	EffectEgressOpened EffectCode = "MT4004"
	// EffectEgressClosed: workloads no longer reach hosts outside.
	EffectEgressClosed EffectCode = "MT4005"

	// EffectAccessLog: access logs are switched on, off or changed.
	EffectAccessLog EffectCode = "MT5001"
	// EffectMetrics: metrics are switched on, off or changed.
	EffectMetrics EffectCode = "MT5002"
	// EffectTracing: tracing is switched on, off or changed.
	EffectTracing EffectCode = "MT5003"

	// EffectUnknown: the configuration changes in a way that is not understood,
	// such as by an EnvoyFilter; it is shown as it is.
	EffectUnknown EffectCode = "MT6001"
	// EffectVersion: the mesh comes to run another Istio or Envoy.
	EffectVersion EffectCode = "MT6002"
	// EffectFlag: a feature flag of istiod changes, and with it what istiod
	// makes of the same objects.
	EffectFlag EffectCode = "MT6003"
)
