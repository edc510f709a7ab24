// Package effect says what a change does to traffic, security and exposure: it
// compares two compiled meshes and returns the differences as Effects. It
// compares what becomes of requests and connections, not bytes, so that a
// change of form without a change of meaning yields nothing.
//
// What comes in are two traffic.Mesh values and the objects they were compiled
// from; what goes out are Effects, each with a before and an after in a
// reviewer's words, the callers it touches, the line that causes it, and, where
// one request shows it, that request. Nothing here does I/O, and the same input
// gives the same output.
//
// Each file is one question: route and fate (where requests go), aspect (how
// they are treated), tcp (connections), cluster (how callers connect), mtls,
// bypass and uncovered (what no sidecar sees), authorize and jwt (what servers accept), gateway, exposure (who comes in from outside), telemetry, object (what is
// ignored or injected), untried (what the bounds leave out), and unknown (what nothing else explained). cause finds
// the line, collect merges what is told by several proxies.
//
// Of authorize, callers is who asks, and matrix what they hear.
package effect

import (
	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// Options help to name causes; the effects themselves do not depend on them,
// but for the conflicts of two objects for one host.
type Options struct {
	// Before and After are the objects that the meshes were compiled from.
	// Without them causes are named by the compiled configuration alone, which
	// does not tell of a PeerAuthentication, a Telemetry or a RequestAuthentication.
	Before, After []mizzen.Object
	// MaxCandidates bounds the requests that are tried for one host at one
	// vantage point; 0 means 2,000. That there are more is an Effect.
	MaxCandidates int
}

// Compare returns what changes between two meshes, the worst first. A nil mesh
// is an empty one.
func Compare(before, after *traffic.Mesh, o Options) []mizzen.Effect {
	if o.MaxCandidates == 0 {
		o.MaxCandidates = 2000
	}
	c := newComparison(before, after, o)
	c.outbounds()
	c.aliases()
	c.waypoints()
	c.gateways()
	c.exposures()
	c.mtls()
	c.bypass()
	c.uncovered()
	c.authorization()
	c.jwt()
	c.telemetry()
	c.objects()
	c.unknowns()
	c.out.settle()
	return c.out.effects()
}

// comparison holds both sides and what has been found.
type comparison struct {
	before, after *side
	o             Options
	changes       *changes
	out           *collector
	hash          *hasher
	// gates are remembered by changedGates.
	gates *[]gates
	// met are the differences of virtual hosts that were compared.
	met map[string][]found
	// recasts are the ports at which another protocol is read, where that is told.
	recasts map[at]bool
	// residues are differences in Envoy's names, by the hashes of both sides:
	// proxies share resources.
	residues map[[2]uint64][2]string
	// known are the callers that workloads are, of the ambient mesh or of all.
	known map[bool][]caller
	// issuers are those that gateways believe whose rules ask for claims.
	issuers map[string]providers
	// observations are what listeners tell about requests, by the listeners' hash.
	observations map[uint64]observation
}

func newComparison(before, after *traffic.Mesh, o Options) *comparison {
	c := &comparison{
		before: newSide(before), after: newSide(after), o: o, hash: newHasher(), met: map[string][]found{},
		recasts:  map[at]bool{},
		residues: map[[2]uint64][2]string{}, observations: map[uint64]observation{},
		known: map[bool][]caller{}, issuers: map[string]providers{},
	}
	c.changes = compareObjects(o.Before, o.After)
	c.out = newCollector(c)
	return c
}
