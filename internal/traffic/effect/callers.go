package effect

import (
	"fmt"
	"slices"
	"strings"

	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// caller is one who may be let in.
type caller struct {
	// identities are what it shows before and after; "" for clients without a
	// certificate of the mesh.
	identities [2]string
	// as is what it would have shown before if only policies had changed.
	as   string
	name string
	// workloads are those that it is, among the callers of an Effect.
	workloads []string
	// namespace is that of the identity; rest says that it stands for all accounts
	// of it that have no caller of their own.
	namespace string
	rest      bool
	// foreign: no workload of the repository has the identity, or one of its
	// namespace if it is for the rest.
	foreign bool
	// fresh: the workload is new, so that it was never refused anything.
	fresh bool
	// trusted tells by side whether servers take its certificate at all.
	trusted [2]bool
}

// moved tells whether a caller shows another identity than before, and that not
// since the whole mesh has another trust domain.
func (k caller) moved() bool { return k.identities[0] != k.as }

// The callers that stand for all that no workload of the mesh is.
const (
	anyOther  = "any other workload"
	anonymous = "clients without a certificate"
)

// anybody is the namespace and the account of who is nobody in particular.
const anybody = "any-other"

// maxClasses bounds the callers who are asked one by one: those that policies
// tell apart.
const maxClasses = 200

// callers are all who could come to a door.
type callers struct {
	all []caller
	// classes are the places in all of those that no policy tells apart: what one
	// of them hears, all do.
	classes [][]int
	// cut tells that there are more.
	cut bool
}

// callersOf returns everyone who could call: the identities of workloads, those
// that the policies of either side name, any other one, and nobody in
// particular.
func (c *comparison) callersOf(d door) callers {
	var out callers
	if d.secured[0] != nil {
		out.all = append(out.all, c.identified(d)...)
	}
	if d.plain[0] != nil {
		out.all = append(out.all, caller{name: anonymous, trusted: [2]bool{true, true}})
	}
	out.classify(d)
	return out
}

// identified are the callers who show an identity: who is known first, then
// those whom only policies name, then any other.
func (c *comparison) identified(d door) []caller {
	known := c.ofWorkloads(d.waypoint)
	taken := map[string]bool{}
	for _, k := range known {
		taken[k.as], taken[k.identities[1]] = true, true
		if !k.fresh {
			taken[k.identities[0]] = true
		}
	}
	nobody := match.Identity{Namespace: anybody, Account: anybody}
	other := c.fixed(nobody, 1)
	other.name, taken[other.as] = anyOther, true
	foreign := map[string]caller{}
	for i, s := range d.secured {
		nobody.TrustDomain = c.side(i).TrustDomain
		for _, id := range match.IdentitiesOf(s).Named(nobody) {
			k := c.fixed(id, i)
			if !taken[k.as] && !taken[k.identities[1]] {
				foreign[k.as+" "+k.identities[1]] = k
			}
		}
	}
	out := known
	for _, key := range sortedKeys(foreign) {
		out = append(out, foreign[key])
	}
	out = append(out, other)
	c.nameForeign(out, known)
	for i := range out {
		for side, s := range d.secured {
			out[i].trusted[side] = s.Trusts(out[i].identities[side])
		}
		if out[i].trusted == [2]bool{} {
			out[i].name = strings.Replace(out[i].name, notHere, " (not in this repository, and no server takes certificates of that trust domain)", 1)
		}
	}
	return out
}

// side returns the mesh before (0) or after (1).
func (c *comparison) side(i int) *side { return [...]*side{c.before, c.after}[i] }

// fixed is the caller whose identity changes with the trust domain of the mesh
// alone, if that is its own on side i.
func (c *comparison) fixed(id match.Identity, i int) caller {
	own := id.TrustDomain == "" || id.TrustDomain == c.side(i).TrustDomain
	var k caller
	for side := range k.identities {
		if own {
			id.TrustDomain = c.side(side).TrustDomain
		}
		k.identities[side] = id.String()
	}
	k.as, k.namespace, k.foreign = k.identities[0], id.Namespace, true
	k.rest = id.Account == anybody && id.Namespace != anybody
	return k
}

// ofWorkloads returns the callers who are workloads on either side, each with
// the identity that either side gives it, by identity. Those with the same ones
// are one. Only who is of the ambient mesh comes to a waypoint.
func (c *comparison) ofWorkloads(ambientOnly bool) []caller {
	if found, ok := c.known[ambientOnly]; ok {
		return found
	}
	shows := func(w *traffic.Workload) bool { return w != nil && (w.Ambient || w.Sidecar && !ambientOnly) }
	had := map[string]*traffic.Workload{}
	for _, w := range c.before.Workloads {
		had[w.Name] = w
	}
	byKey := map[string]*caller{}
	for _, w := range c.after.Workloads {
		if !shows(w) {
			continue
		}
		k := c.present(w, had[w.Name], shows(had[w.Name]))
		key := strings.Join([]string{k.identities[1], k.identities[0], k.as}, " ")
		if byKey[key] == nil {
			byKey[key] = &k
		}
		byKey[key].workloads = append(byKey[key].workloads, w.Name)
		delete(had, w.Name)
	}
	c.gone(had, shows, byKey)
	out := make([]caller, 0, len(byKey))
	for _, key := range sortedKeys(byKey) {
		k := byKey[key]
		k.foreign, k.name = false, identityName(*k)
		out = append(out, *k)
	}
	c.known[ambientOnly] = out
	return out
}

// present is a workload that there is after the change; before is what it was,
// nil if it is new, and showed whether it had an identity to show.
func (c *comparison) present(w, before *traffic.Workload, showed bool) caller {
	k := c.fixed(match.ParseIdentity(w.Identity), 1)
	k.identities[1] = w.Identity
	switch {
	case showed:
		k.identities[0] = before.Identity
	case before == nil && !c.heir(w, k.as):
		k.fresh = true
		k.identities[0] = match.Identity{TrustDomain: c.before.TrustDomain, Namespace: w.Namespace, Account: anybody}.String()
	}
	return k
}

// gone adds the callers who are no longer there, unless another workload has
// their identity.
func (c *comparison) gone(had map[string]*traffic.Workload, shows func(*traffic.Workload) bool, byKey map[string]*caller) {
	taken := map[string]bool{}
	for _, k := range byKey {
		taken[k.as], taken[k.identities[0]] = true, true
	}
	for _, name := range sortedKeys(had) {
		w := had[name]
		if !shows(w) || taken[w.Identity] {
			continue
		}
		k := c.fixed(match.ParseIdentity(w.Identity), 0)
		k.identities[0], k.as = w.Identity, w.Identity
		if have := byKey[k.as]; have != nil {
			have.workloads = append(have.workloads, name)
			continue
		}
		k.workloads = []string{name}
		byKey[k.as] = &k
	}
}

// familyLabels tell what a workload is a version of.
var familyLabels = []string{"service.istio.io/canonical-name", "app.kubernetes.io/name", "app"}

// heir tells whether a new workload takes an identity over: from one that is no
// longer there, or from another version of itself.
func (c *comparison) heir(w *traffic.Workload, identity string) bool {
	return slices.ContainsFunc(c.before.Workloads, func(b *traffic.Workload) bool {
		if b.Identity != identity {
			return false
		}
		return c.after.workload(b.Name) == nil || slices.ContainsFunc(familyLabels, func(label string) bool {
			return w.Labels[label] != "" && w.Labels[label] == b.Labels[label] && w.Namespace == b.Namespace
		})
	})
}

// classify joins the callers whom no policy of either side tells apart.
func (k *callers) classify(d door) {
	before, after := match.IdentitiesOf(d.secured[0]), match.IdentitiesOf(d.secured[1])
	index := map[string]int{}
	for i, one := range k.all {
		key := anonymous
		if one.identities[1] != "" {
			key = strings.Join([]string{
				before.Key(one.identities[0]), before.Key(one.as), after.Key(one.identities[1]), fmt.Sprint(one.trusted, one.fresh),
			}, "\x00")
		}
		at, known := index[key]
		if !known {
			at = len(k.classes)
			index[key] = at
			k.classes = append(k.classes, nil)
		}
		k.classes[at] = append(k.classes[at], i)
	}
	if len(k.classes) > maxClasses {
		k.cut = true
		// The last ones are those that stand for many.
		k.classes = slices.Concat(k.classes[:maxClasses-2:maxClasses-2], k.classes[len(k.classes)-2:])
	}
}

// movers tells whether any caller shows another identity than before, so that
// policies that are the same may decide otherwise.
func (c *comparison) movers() bool {
	return slices.ContainsFunc(c.ofWorkloads(false), func(k caller) bool { return k.identities[0] != k.identities[1] })
}
