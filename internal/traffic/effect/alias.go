package effect

import (
	"fmt"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// aliases tells of ExternalName Services that stand for another name than
// before, where no proxy's routes show it: beyond the mesh DNS alone decides.
func (c *comparison) aliases() {
	for _, host := range union(c.before.Aliases, c.after.Aliases) {
		b, a := c.before.Aliases[host], c.after.Aliases[host]
		if !c.renamed(host) || slices.ContainsFunc(c.after.Hosts[host], func(port uint32) bool {
			return c.out.tells(mizzen.EffectDestination, fmt.Sprintf("%s:%d", shortHost(host), port))
		}) {
			continue
		}
		f := found{
			code: mizzen.EffectDestination, impact: mizzen.ImpactWarning, subjects: []string{shortHost(host)}, noun: "hosts", namespace: namespaceOf(host),
			message: "the name leads to another host", before: shortHost(b), after: shortHost(a),
		}
		_, was := c.before.Hosts[b]
		if _, is := c.after.Hosts[a]; was && !is {
			f.message += ", outside of the mesh"
		}
		name, namespace, _ := strings.Cut(shortHost(host), ".")
		f.cause = c.cause(traffic.Rule{Ref: mizzen.Ref{Kind: "Service", Namespace: namespace, Name: name}}, hints{"externalName"})
		c.out.add(f)
	}
}

// renamed tells whether a host is that of an ExternalName Service which is told to
// stand for another name.
func (c *comparison) renamed(host string) bool {
	b, a := c.before.Aliases[host], c.after.Aliases[host]
	return b != a && b != "" && a != ""
}
