package effect

import (
	"net/netip"
	"slices"
	"strings"

	"mizzen.dev/mizzen/internal/traffic/match"
)

// notHere is said of who calls without that the repository runs it.
const notHere = " (not in this repository)"

// identityName names the caller that some workloads are.
func identityName(k caller) string {
	id := match.ParseIdentity(k.identities[1])
	name := "service account " + id.Namespace + "/" + id.Account
	if len(k.workloads) == 1 {
		name = k.workloads[0]
	}
	switch {
	case k.fresh:
		return list(k.workloads, 2) + " (new, with the service account " + id.Account + ")"
	case k.moved():
		return list(k.workloads, 2) + " (now with the service account " + id.Account + ")"
	}
	return name
}

// nameForeign names the callers whom only policies name.
func (c *comparison) nameForeign(all, known []caller) {
	for i := range all {
		if k := &all[i]; k.foreign && k.name == "" {
			c.nameOne(k, known)
		}
	}
}

func (c *comparison) nameOne(k *caller, known []caller) {
	id := match.ParseIdentity(k.identities[1])
	of := ""
	if id.TrustDomain != c.after.TrustDomain {
		of = " of the trust domain " + id.TrustDomain
	}
	switch {
	case id.Namespace == anybody && id.Account == anybody:
		k.name = anyOther + of
		return
	case k.rest:
		k.name = anyOther + " of " + id.Namespace + of
		k.foreign = of != "" || !slices.ContainsFunc(known, func(w caller) bool { return w.namespace == id.Namespace })
	default:
		k.name = id.Namespace + "/" + id.Account + of + notHere
	}
	if k.foreign && id.Namespace != anybody {
		k.workloads = []string{id.Namespace + "/" + strings.Replace(id.Account, anybody, "*", 1) + of + notHere}
	}
}

// one names one of those for whom a caller stands.
func (k caller) one() string {
	switch {
	case k.rest && k.foreign:
		return strings.Replace(k.name, anyOther, "a workload", 1) + notHere
	case len(k.workloads) > 0:
		return k.workloads[0]
	}
	return k.name
}

// letIn is a caller who passes, and on what condition.
type letIn struct {
	at        int // its place among all callers
	condition string
}

// who names those of the callers who pass.
func (k *callers) who(passing []letIn) string {
	if len(passing) == 0 {
		return "nobody"
	}
	in := map[int]bool{}
	condition := passing[0].condition
	for _, p := range passing {
		in[p.at] = true
		if p.condition != condition {
			condition = " (some only if an authorizer agrees)"
		}
	}
	return k.those(in) + condition
}

// those names some of the callers: one by one, or, where any other is among
// them, by who is not.
func (k *callers) those(in map[int]bool) string {
	var others []int
	open := false
	for _, class := range k.classes {
		for _, i := range class {
			switch {
			case !in[i]:
				others = append(others, i)
			case k.all[i].name == anyOther:
				open = true
			}
		}
	}
	switch {
	case len(others) == 0:
		return "everyone"
	case open:
		return k.everyoneBut(others)
	}
	return list(k.names(in), 4)
}

// everyoneBut names those who pass by those who do not.
func (k *callers) everyoneBut(others []int) string {
	out, all := map[int]bool{}, "everyone"
	for _, i := range others {
		if k.all[i].name == anonymous {
			all = "every workload of the mesh"
			continue
		}
		out[i] = true
	}
	if len(out) == 0 {
		return all
	}
	return all + " but " + list(k.names(out), 4)
}

// names are those of callers in order. All of a namespace have one.
func (k *callers) names(of map[int]bool) []string {
	whole := map[string]bool{}
	for i, one := range k.all {
		if one.rest && of[i] {
			whole[one.scope()] = true
		}
	}
	for i, one := range k.all {
		if !of[i] {
			delete(whole, one.scope())
		}
	}
	var out []string
	for i, one := range k.all {
		switch {
		case !of[i]:
		case !whole[one.scope()]:
			out = append(out, one.name)
		case one.rest:
			name := strings.Replace(one.name, anyOther, "every workload", 1)
			if one.foreign {
				name += notHere
			}
			out = append(out, name)
		}
	}
	return out
}

// scope is the trust domain and the namespace of who shows an identity.
func (k caller) scope() string {
	return match.ParseIdentity(k.identities[1]).TrustDomain + " " + k.namespace
}

// blockWords names a set of addresses.
func blockWords(b match.Block) string {
	if !b.Prefix.IsValid() {
		return "any other address"
	}
	words := prefixWords(b.Prefix)
	if len(b.Without) > 0 {
		var without []string
		for _, p := range b.Without {
			without = append(without, prefixWords(p))
		}
		words += " without " + list(without, 2)
	}
	return words
}

func prefixWords(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
