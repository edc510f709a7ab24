package analyze

import (
	"slices"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	"istio.io/istio/pkg/config/schema/gvk"
)

// claim is one message of an analyzer, as the rules see it.
type claim struct {
	code string
	// about is the object; detail the first parameters of the message, as text.
	about  *instance
	detail []string
}

// param returns a parameter of the message, or "".
func (m claim) param(i int) string {
	if i < len(m.detail) {
		return m.detail[i]
	}
	return ""
}

// rule says when a message does not hold of files.
type rule struct {
	code string
	// of is the first parameter that the rule is for; empty for all.
	of string
	// reason says why, for the reader of this table and of the tests.
	reason string
	// wrong tells whether the message does not hold.
	wrong func(c *catalog, m claim) bool
}

// rules are the false positives of an analysis of files. A message that a rule
// calls wrong is not shown.
var rules = []rule{
	{"IST0102", "", "a namespace without workloads needs no sidecars", func(c *catalog, m claim) bool {
		return !c.facts.populated[m.about.Metadata.FullName.Name.String()]
	}},
	{"IST0101", "selector", "Istio's own charts install gateways that say what they are in the label istio", func(c *catalog, m claim) bool {
		return c.partial() && m.about.Metadata.Schema.GroupVersionKind() == gvk.Gateway && strings.Contains(m.param(1), "istio=")
	}},
	{"IST0101", "selector", "the workloads of a namespace without any are deployed by somebody else", func(c *catalog, m claim) bool {
		return c.partial() && !c.facts.populated[m.about.object.GetNamespace()]
	}},
	{"IST0101", "credentialName", "certificates are seldom in Git: cert-manager, a vault or a person makes them", func(c *catalog, _ claim) bool {
		return c.partial()
	}},
	{"IST0101", "credentialName", "an operator makes the Secret of another object", func(c *catalog, m claim) bool {
		for namespace := range c.facts.namespaces {
			if c.facts.madeSecrets[namespace+"/"+m.param(1)] {
				return true
			}
		}
		return false
	}},
	{"IST0101", "namespace", "namespaces are made by the sync, or by who runs the cluster", func(c *catalog, _ claim) bool {
		return c.partial()
	}},
	{"IST0101", "gateway", "a gateway of a namespace that is not known may be there", func(c *catalog, m claim) bool {
		namespace, _, qualified := strings.Cut(m.param(1), "/")
		return c.partial() && qualified && !c.facts.namespaces[namespace]
	}},
	{"IST0101", "host", "a service of a namespace that is not known may be there", (*catalog).elsewhere},
	{"IST0101", "mirror host", "a service of a namespace that is not known may be there", (*catalog).elsewhere},
	{"IST0101", "host+subset in destinationrule", "a subset of a service that is not known may be there", (*catalog).elsewhere},
	{"IST0101", "mirror+subset in destinationrule", "a subset of a service that is not known may be there", (*catalog).elsewhere},
	{"IST0174", "", "a service of a namespace that is not known may be there", func(c *catalog, m claim) bool {
		return c.elsewhere(claim{about: m.about, detail: []string{"", m.param(0)}})
	}},
	{"IST0174", "", "a wildcard takes the hosts of Services, of all namespaces or of one", (*catalog).takesHosts},
	{"IST0112", "", "in the mesh a destination without a port gets the one that the request was sent to", func(_ *catalog, m claim) bool {
		v, ok := m.about.Message.(*networking.VirtualService)
		return ok && len(v.Gateways) == 0 && slices.Contains(v.Hosts, m.param(0))
	}},
	{"IST0127", "", "the workloads of a namespace without any are deployed by somebody else", func(c *catalog, m claim) bool {
		return c.partial() && !c.facts.populated[m.about.object.GetNamespace()]
	}},
	{"IST0132", "", "that the gateway itself is missing is said by IST0101", func(c *catalog, m claim) bool {
		namespace, name, _ := strings.Cut(m.param(2), "/")
		return !c.has(gvk.Gateway, namespace, name)
	}},
	{"IST0146", "", "the labels of a namespace that no object describes are not known, nor is an injector that is installed from elsewhere", func(c *catalog, m claim) bool {
		return c.partial() && (!c.has(gvk.Namespace, "", m.about.object.GetNamespace()) || len(c.all(gvk.MutatingWebhookConfiguration)) == 0)
	}},
	{"IST0161", "", "the content of a Secret may be encrypted in Git, and is not asked of a cluster", (*catalog).sealed},
	{"IST0162", "", "the Service of a gateway that is not known may have the port", func(c *catalog, m claim) bool {
		return c.partial() && strings.Contains(m.param(1), "istio=")
	}},
	{"IST0139", "", "the Service of a webhook is that of a control plane which is not known", func(c *catalog, m claim) bool {
		return c.partial() && strings.Contains(m.param(0), "service")
	}},
}

// neverShown are the messages that files cannot bring or cannot prove.
var neverShown = map[string]string{
	"IST0103": "a pod in Git gets its sidecar when it is created",
	"IST0147": "a pod in Git gets its image when it is created; IST0146 says it of its workload",
	"IST0158": "the image of a sidecar is chosen when the pod is created",
	"IST0141": "asks what the user may do in a cluster: a check before an installation, not of objects",
	"IST0142": "asks for the version of a cluster: a check before an installation, not of objects",
	"IST0143": "needs the sockets of running pods",
	"IST0168": "compares two releases of Istio, not objects",
	"IST0169": "compares two releases of Istio, not objects",
	"IST0170": "compares clusters with each other; here is one",
	"IST0171": "reads status, which files do not have; the health of the objects says it",
	"IST0173": "ignores namespaces and the selector of the Service, so that it is wrong both ways; MZ4102 asks the same",
}

// partial tells whether there is more in the cluster than is known.
func (c *catalog) partial() bool { return !c.known.Complete }

// elsewhere tells whether a host, or a host and its subset, is of a namespace
// about which nothing is known.
func (c *catalog) elsewhere(m claim) bool {
	host, _, _ := strings.Cut(m.param(1), "+")
	host, _, _ = strings.Cut(host, ":")
	namespace, inside := namespaceOf(host, m.about.object.GetNamespace())
	return c.partial() && inside && !c.facts.served[namespace]
}

// takesHosts tells whether a host is a wildcard that some Service or
// ServiceEntry is within.
func (c *catalog) takesHosts(m claim) bool {
	suffix, wild := strings.CutPrefix(m.param(0), "*")
	within := func(host string) bool { return wild && strings.HasSuffix(host, suffix) }
	return slices.ContainsFunc(c.all(gvk.Service), func(i *instance) bool {
		return within(i.object.GetName() + "." + i.object.GetNamespace() + ".svc.cluster.local")
	}) || slices.ContainsFunc(c.all(gvk.ServiceEntry), func(i *instance) bool {
		entry, ok := i.Message.(*networking.ServiceEntry)
		return ok && slices.ContainsFunc(entry.GetHosts(), within)
	})
}

// sealed tells whether a Gateway uses a Secret whose content is not known.
func (c *catalog) sealed(m claim) bool {
	g, ok := m.about.Message.(*networking.Gateway)
	if !ok {
		return false
	}
	used := map[string]bool{}
	for _, s := range g.Servers {
		used[s.GetTls().GetCredentialName()] = true
	}
	return slices.ContainsFunc(c.all(gvk.Secret), func(i *instance) bool {
		_, sops := i.object.Object["sops"]
		return used[i.object.GetName()] && (!i.judged || sops)
	})
}

// holds tells whether a message is to be shown.
func (c *catalog) holds(m claim) bool {
	if neverShown[m.code] != "" {
		return false
	}
	for _, r := range rules {
		if r.code == m.code && (r.of == "" || r.of == m.param(0)) && r.wrong(c, m) {
			return false
		}
	}
	return true
}
