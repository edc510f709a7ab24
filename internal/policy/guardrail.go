package policy

import (
	"slices"
	"strings"

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
	check
}

// check finds what triggers a guardrail.
type check struct {
	find func(*facts, *Policy) []hit
	// effects are those that it finds, if it looks at effects alone.
	effects effects
}

// effects are those that a guardrail holds.
type effects struct {
	// codes are held whatever their impact.
	codes []mizzen.EffectCode
	// dangers are the beginnings of the codes of which those are held that are a
	// danger.
	dangers []mizzen.EffectCode
	// toCallers: they happen to the callers of their subject.
	toCallers bool
}

// guardChangedName is the guardrail that a policy which is mended cannot loosen.
const guardChangedName = "guard-changed"

// guardrails are asked in this order.
var guardrails = []guardrail{
	{
		"policy-unreadable", mizzen.LevelDeny, "the policy cannot be read, so that its rules cannot be asked",
		"mend the file, in this change or before it",
		check{find: unreadable},
	},
	{
		"plan-incomplete", mizzen.LevelDeny, "what the change does cannot be told",
		"mend what is named, so that the whole change can be judged",
		check{find: incomplete},
	},
	{
		"not-covered", mizzen.LevelApproval, "something changes where the plan cannot look",
		"mend what is named, have it planned by itself, or let somebody read it",
		check{find: notCovered},
	},
	{
		"error-findings", mizzen.LevelDeny, "findings of this severity stop a sync",
		"correct the objects that are named",
		check{find: errorFindings},
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
		"keep the route, the subset, the service or the host of the gateway until nobody calls it",
		callers(mizzen.EffectFails, mizzen.EffectWithdrawn, mizzen.EffectEgressClosed).dangersOf("MT1", "MT2"),
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
		"authorization-narrowed", mizzen.LevelWarn, "somebody may no longer do what was allowed",
		"tell the owners of the callers that are named", callers(mizzen.EffectAuthorizationNarrower),
	},
	{
		"jwt-changed", mizzen.LevelApproval, "other tokens are asked for or believed",
		"check issuer, keys and audiences", subjects(mizzen.EffectJWT),
	},
	{
		"tls-weakened", mizzen.LevelApproval, "connections are less protected than they were",
		"keep the mode, the client certificates and the least version of TLS that there were",
		callers().dangersOf(mizzen.EffectClientTLS, mizzen.EffectCertificate),
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
		"keep it with the annotation mizzen.dev/sync-options: Prune=false, or make sure of a backup",
		check{find: statefulDeleted},
	},
	{
		"network-policy-deleted", mizzen.LevelApproval, "an object that limits traffic is deleted",
		"replace it in the same change, or make sure that another one holds",
		check{find: networkPolicyDeleted},
	},
	{
		guardChangedName, mizzen.LevelApproval, "the change touches its own guard",
		"let the owners of the file agree; the change itself is judged by what was there before",
		check{find: guardChanged},
	},
	{
		"others-affected", mizzen.LevelApproval, "the change affects what others own",
		"agree with the owners of what is affected",
		check{find: othersAffected},
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
	// Effects says which Effects trigger it; empty if it looks at something else.
	Effects string
}

// Guardrails lists the built-in checks in the order in which they are asked,
// with their default levels.
func Guardrails() []Guardrail {
	out := make([]Guardrail, 0, len(guardrails))
	for _, g := range guardrails {
		out = append(out, Guardrail{g.name, g.level, g.message, g.remedy, g.effects.String()})
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
func subjects(codes ...mizzen.EffectCode) check { return effects{codes: codes}.check() }

// callers finds effects that happen to the callers of their subject.
func callers(codes ...mizzen.EffectCode) check { return effects{codes: codes, toCallers: true}.check() }

// dangersOf finds, besides, the effects of impact danger whose codes begin so.
func (c check) dangersOf(beginnings ...mizzen.EffectCode) check {
	c.effects.dangers = beginnings
	return c.effects.check()
}

func (e effects) check() check {
	return check{effects: e, find: func(f *facts, _ *Policy) []hit {
		var hits []hit
		for i := range f.in.Effects {
			if found := &f.in.Effects[i]; e.hold(found) {
				hits = append(hits, f.effectHit(found, e.toCallers))
			}
		}
		return hits
	}}
}

func (e effects) hold(found *mizzen.Effect) bool {
	return slices.Contains(e.codes, found.Code) ||
		found.Impact == mizzen.ImpactDanger && slices.ContainsFunc(e.dangers, func(beginning mizzen.EffectCode) bool {
			return strings.HasPrefix(string(found.Code), string(beginning))
		})
}

// String is "MT4002, danger of MT1…".
func (e effects) String() string {
	const whole = len("MT1234")
	var all []string
	for _, code := range e.codes {
		all = append(all, string(code))
	}
	for _, code := range e.dangers {
		if len(code) < whole {
			code += "…"
		}
		all = append(all, "danger of "+string(code))
	}
	return strings.Join(all, ", ")
}
