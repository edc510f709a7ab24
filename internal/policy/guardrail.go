package policy

import (
	"slices"

	"mizzen.dev/mizzen"
)

// guardrail is one built-in check.
type guardrail struct {
	// name is what the policy file calls it. It never gets another meaning.
	name  string
	level mizzen.Level
	// message says what happened, without a final stop; remedy what to do.
	message string
	remedy  string
	find    func(*facts, *Policy) []hit
}

// guardrails are asked in this order.
var guardrails = []guardrail{
	{
		"plan-incomplete", mizzen.LevelDeny, "what the change does cannot be told",
		"mend what is named, so that the whole change can be judged", incomplete,
	},
	{
		"error-findings", mizzen.LevelDeny, "findings of this severity stop a sync",
		"correct the objects that are named", errorFindings,
	},
	{
		"mtls-weakened", mizzen.LevelDeny, "a workload takes plaintext that it refused",
		"keep mTLS STRICT, or limit the exception to a port by portLevelMtls", subjects(mizzen.EffectMTLSWeaker),
	},
	{
		"tls-mismatch", mizzen.LevelDeny, "callers speak what the server refuses, so that their calls fail",
		"let the DestinationRule of the callers and the PeerAuthentication of the server agree", callers(mizzen.EffectTLSMismatch),
	},
	{
		"requests-fail", mizzen.LevelApproval, "requests that were served are refused",
		"keep the route, the subset or the service until nobody calls it", callers(mizzen.EffectFails),
	},
	{
		"host-removed", mizzen.LevelWarn, "a host is no longer known to its callers",
		"move the callers first", callers(mizzen.EffectHostRemoved),
	},
	{
		"authorization-widened", mizzen.LevelApproval, "somebody may do what was denied",
		"name the callers, methods and paths that are meant", subjects(mizzen.EffectAuthorizationWider),
	},
	{
		"jwt-changed", mizzen.LevelApproval, "other tokens are asked for or believed",
		"check issuer, keys and audiences", subjects(mizzen.EffectJWT),
	},
	{
		"client-tls-changed", mizzen.LevelWarn, "callers secure their connections in another way",
		"check the mode, the certificates and the names that are verified", callers(mizzen.EffectClientTLS),
	},
	{
		"injection-off", mizzen.LevelApproval, "new pods get no sidecar, so that neither mTLS nor policies hold for them",
		"keep the injection label of the namespace", subjects(mizzen.EffectInjectionOff),
	},
	{
		"sidecar-bypassed", mizzen.LevelApproval, "what a workload sends or gets is led past its sidecar, so that neither mTLS nor policies hold for it",
		"leave out only ports that nothing protects", subjects(mizzen.EffectBypass),
	},
	{
		"host-exposed", mizzen.LevelApproval, "a gateway serves what it did not",
		"check that the host and the paths are meant for the outside", subjects(mizzen.EffectExposed),
	},
	{
		"certificate-changed", mizzen.LevelWarn, "a gateway has another certificate, TLS version or mode",
		"check it against what clients accept", subjects(mizzen.EffectCertificate),
	},
	{
		"egress-opened", mizzen.LevelApproval, "workloads reach hosts outside that they did not",
		"limit the ServiceEntry by exportTo, or name the hosts", callers(mizzen.EffectEgressOpened),
	},
	{
		"stateful-deleted", mizzen.LevelApproval, "an object that holds data is deleted",
		"keep it with the annotation mizzen.dev/sync-options: Prune=false, or make sure of a backup", statefulDeleted,
	},
	{
		"network-policy-deleted", mizzen.LevelApproval, "an object that limits traffic is deleted",
		"replace it in the same change, or make sure that another one holds", networkPolicyDeleted,
	},
	{
		"guard-changed", mizzen.LevelApproval, "the change touches its own guard",
		"let the owners of the file agree; the change itself is judged by what was there before", guardChanged,
	},
	{
		"others-affected", mizzen.LevelApproval, "the change affects what others own",
		"agree with the owners of what is affected", othersAffected,
	},
	{
		"fault-injected", mizzen.LevelWarn, "failures or delays are injected, or no longer",
		"check that it is meant for this environment", callers(mizzen.EffectFault),
	},
	{
		"rule-shadowed", mizzen.LevelWarn, "a rule can never match",
		"move it before the rule that always matches, or remove it", subjects(mizzen.EffectShadowed),
	},
	{
		"object-ignored", mizzen.LevelWarn, "istiod ignores an object, or a part of it",
		"correct the object", subjects(mizzen.EffectIgnored),
	},
	{
		"host-conflict", mizzen.LevelWarn, "two objects speak for one host, and one loses",
		"merge them", subjects(mizzen.EffectConflict),
	},
	{
		"telemetry-changed", mizzen.LevelWarn, "access logs, metrics or traces change",
		"check that nobody misses them",
		subjects(mizzen.EffectAccessLog, mizzen.EffectMetrics, mizzen.EffectTracing),
	},
	{
		"not-understood", mizzen.LevelApproval, "the configuration of proxies changes in a way that the plan cannot explain",
		"let somebody read it who knows Envoy", subjects(mizzen.EffectUnknown),
	},
}

// Guardrail describes a built-in check, for the reference.
type Guardrail struct {
	Name    string
	Level   mizzen.Level
	Message string
	Remedy  string
}

// Guardrails lists the built-in checks in the order in which they are asked,
// with their default levels.
func Guardrails() []Guardrail {
	out := make([]Guardrail, 0, len(guardrails))
	for _, g := range guardrails {
		out = append(out, Guardrail{g.name, g.level, g.message, g.remedy})
	}
	return out
}

func builtInLevels() map[string]mizzen.Level {
	levels := make(map[string]mizzen.Level, len(guardrails))
	for _, g := range guardrails {
		levels[g.name] = g.level
	}
	return levels
}

// subjects finds effects that happen to their subject.
func subjects(codes ...mizzen.EffectCode) func(*facts, *Policy) []hit {
	return effects(codes, false)
}

// callers finds effects that happen to the callers of their subject.
func callers(codes ...mizzen.EffectCode) func(*facts, *Policy) []hit {
	return effects(codes, true)
}

func effects(codes []mizzen.EffectCode, toCallers bool) func(*facts, *Policy) []hit {
	return func(f *facts, _ *Policy) []hit {
		var hits []hit
		for i := range f.in.Effects {
			if e := &f.in.Effects[i]; slices.Contains(codes, e.Code) {
				hits = append(hits, f.effectHit(e, toCallers))
			}
		}
		return hits
	}
}
