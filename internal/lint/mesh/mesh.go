// Package mesh judges what objects of a service mesh mean together: routes
// beside services, policies beside workloads. Objects of all Applications of a
// cluster come in; Findings about those that are judged go out.
//
// Each check is one that Istio's own analyzers do not have. What an object
// refers to may be outside of Git, so a check speaks only where what it needs
// is known: that a host has no Service is said of a namespace whose Services
// are there.
package mesh

import (
	"context"
	"fmt"

	"mizzen.dev/mizzen"
)

// checks are all, in the order of their codes.
var checks = []struct {
	run func(*world)
	// all tells that the check says what is missing, or what nothing else
	// changes, so that it has to see everything.
	all bool
}{
	{(*world).checkWeights, false},
	{(*world).checkSubsets, true},
	{(*world).checkHosts, true},
	{(*world).checkMutualTLS, true},
	{(*world).checkEmptyPolicies, false},
	{(*world).checkPolicyProtocols, true},
	{(*world).checkSidecars, false},
	{(*world).checkPlainHTTPS, false},
	{(*world).checkTimeouts, false},
	{(*world).checkGatewayRoutes, false},
	{(*world).checkPortModes, true},
	{(*world).checkDuplicateRules, false},
	{(*world).checkDelegates, true},
}

// Known is what exists beside the objects that are judged. Nothing is said
// about it.
type Known struct {
	Objects []mizzen.Object
	// Complete tells that the judged and the known objects are all that Git has
	// for the cluster. Otherwise checks that need all of them are left out.
	Complete bool
}

// Check returns what is wrong with objects beside known ones, sorted. Objects
// that do not have the form of their kind are passed over: their schemas say
// so.
//
// It fails only when ctx ends.
func Check(ctx context.Context, objects []mizzen.Object, known Known) ([]mizzen.Finding, error) {
	w := read(objects, known.Objects)
	for _, check := range checks {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("check the mesh: %w", err)
		}
		if known.Complete || !check.all {
			check.run(w)
		}
	}
	mizzen.SortFindings(w.findings)
	return w.findings, nil
}

// say reports a Finding about a field of an object, if that is judged.
func (w *world) say(of thing, f mizzen.Finding) {
	if !of.judged {
		return
	}
	f.Ref, f.Origin = of.object.Ref(), place(of.object, f.Path)
	w.findings = append(w.findings, f)
}

// place returns the line of a field, else that of the nearest one around it.
func place(o mizzen.Object, p mizzen.Path) mizzen.Origin {
	for ; p != ""; p = p.Parent() {
		if at, ok := o.Origins.Fields[p]; ok {
			return at
		}
	}
	return o.Origins.Object
}
