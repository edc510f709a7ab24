package report

import "mizzen.dev/mizzen"

// effects says in a few words what each Effect is about, for formats that list
// their rules.
var effects = map[mizzen.EffectCode]string{
	mizzen.EffectDestination:           "Requests go to another workload or subset",
	mizzen.EffectWeights:               "The shares of the destinations change",
	mizzen.EffectFails:                 "Requests that were served get 404, 503 or another refusal",
	mizzen.EffectServed:                "Requests that were refused are served",
	mizzen.EffectHostAdded:             "A host becomes known to callers",
	mizzen.EffectHostRemoved:           "A host is no longer known to callers",
	mizzen.EffectShadowed:              "A rule can never match, since one before it always does",
	mizzen.EffectIgnored:               "Istiod ignores an object, or a part of it",
	mizzen.EffectConflict:              "Two objects speak for one host, and one loses",
	mizzen.EffectTimeout:               "The time a request may take changes",
	mizzen.EffectRetries:               "How often, or on what, a request is tried again",
	mizzen.EffectFault:                 "Failures or delays are injected, or no longer",
	mizzen.EffectMirror:                "Copies of requests go elsewhere, or no longer",
	mizzen.EffectRewrite:               "Path or host as the server sees them, or a redirect",
	mizzen.EffectHeaders:               "Headers are added, set or removed",
	mizzen.EffectCORS:                  "Which other origins may call from a browser",
	mizzen.EffectCircuitBreaker:        "Connection pool and request limits",
	mizzen.EffectOutlier:               "When an endpoint is taken out",
	mizzen.EffectLoadBalancing:         "How an endpoint is chosen",
	mizzen.EffectRoutePolicy:           "Another treatment of requests, told by field",
	mizzen.EffectArrival:               "How a proxy takes requests in before it routes them",
	mizzen.EffectMTLSWeaker:            "A workload's port takes plaintext that it refused",
	mizzen.EffectMTLSStronger:          "A workload's port refuses plaintext that it took",
	mizzen.EffectTLSMismatch:           "Callers speak what the server refuses",
	mizzen.EffectAuthorizationWider:    "Somebody may do what was denied",
	mizzen.EffectAuthorizationNarrower: "Somebody may no longer do what was allowed",
	mizzen.EffectJWT:                   "Which tokens are asked for or believed",
	mizzen.EffectClientTLS:             "How callers secure their connections",
	mizzen.EffectInjectionOff:          "New pods of a namespace get no sidecar",
	mizzen.EffectInjectionOn:           "New pods of a namespace get a sidecar",
	mizzen.EffectBypass:                "What a workload sends or gets is led past its sidecar",
	mizzen.EffectBypassEnds:            "What was led past a sidecar passes it",
	mizzen.EffectExposed:               "A gateway serves a host or path that it did not",
	mizzen.EffectWithdrawn:             "A gateway no longer serves a host or path",
	mizzen.EffectCertificate:           "Certificate, TLS version or mode at a gateway",
	mizzen.EffectEgressOpened:          "Workloads reach hosts outside that they did not",
	mizzen.EffectEgressClosed:          "Workloads no longer reach hosts outside",
	mizzen.EffectAccessLog:             "Access logs are switched on, off or changed",
	mizzen.EffectMetrics:               "Metrics are switched on, off or changed",
	mizzen.EffectTracing:               "Tracing is switched on, off or changed",
	mizzen.EffectUnknown:               "The configuration changes in a way that is not understood",
	mizzen.EffectVersion:               "The mesh comes to run another Istio or Envoy",
	mizzen.EffectFlag:                  "A feature flag of istiod changes",
}

// DescribeEffect says what a code is about.
func DescribeEffect(c mizzen.EffectCode) string {
	if text := effects[c]; text != "" {
		return text
	}
	return string(c)
}
