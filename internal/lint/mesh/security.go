package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mizzen.dev/mizzen"
)

// checkMutualTLS finds DestinationRules that make callers speak what the
// server's PeerAuthentication refuses.
func (w *world) checkMutualTLS() {
	for _, d := range w.destinationRules {
		s := w.byHost[resolve(d.spec.Host, d.namespace())]
		if s == nil || d.spec.TrafficPolicy == nil {
			continue
		}
		for _, port := range s.spec.Ports {
			path, client := d.tlsOf(port.Port)
			by, server := w.modeOf(s, port.target())
			message := refusal(client, server)
			if message == "" {
				continue
			}
			w.say(d.thing, mizzen.Finding{
				Code: mizzen.CodeTLSMismatch, Severity: mizzen.Warning, Path: path,
				Message: fmt.Sprintf("callers use %s for port %d of %s, but PeerAuthentication %s/%s is %s: %s",
					client, port.Port, s.host, by.namespace(), by.name(), server, message),
				Remedy: "remove tls, so that Istio chooses, or change the PeerAuthentication",
			})
			break // one port shows it
		}
	}
}

// refusal says why a client's mode does not go with the server's; "" if it
// does.
func refusal(client, server string) string {
	switch {
	case server == "STRICT" && (client == "DISABLE" || client == "SIMPLE"):
		return "calls fail"
	case server == "DISABLE" && client == "ISTIO_MUTUAL":
		return "calls fail, since the server does not take mutual TLS"
	}
	return ""
}

// tlsOf returns the mode for callers of a port, and where it stands.
func (d *destinationRule) tlsOf(port int) (path mizzen.Path, mode string) {
	p := d.spec.TrafficPolicy
	at := mizzen.Path("spec.trafficPolicy")
	for i, level := range p.PortLevelSettings {
		if level.Port.Number == port && level.TLS != nil {
			return at.Key("portLevelSettings").Index(i).Key("tls"), level.TLS.Mode
		}
	}
	if p.TLS != nil {
		return at.Key("tls"), p.TLS.Mode
	}
	return at, ""
}

// modeOf returns the mode of mutual TLS at the workloads of a Service, and
// which object says so; "" if none does. The narrowest one counts.
func (w *world) modeOf(s *service, port int) (by *peerAuthentication, mode string) {
	labels := s.spec.Selector
	behind := w.behind(s)
	if len(behind) > 0 {
		labels = behind[0].labels
		if behind[0].outside() {
			return nil, ""
		}
	}
	best := 0
	for _, p := range w.peerAuthentications {
		rank := p.rank(s.namespace(), labels)
		if rank <= best {
			continue
		}
		m := ""
		if p.spec.MTLS != nil {
			m = p.spec.MTLS.Mode
		}
		if level, ok := p.spec.PortLevelMTLS[strconv.Itoa(port)]; ok {
			m = level.Mode
		}
		if m != "" && m != "UNSET" {
			best, by, mode = rank, p, m
		}
	}
	return by, mode
}

// rank tells how narrowly a PeerAuthentication is for workloads: 3 by a
// selector, 2 for their namespace, 1 for the mesh, 0 not at all.
func (p *peerAuthentication) rank(namespace string, labels map[string]string) int {
	selects := p.spec.Selector != nil && len(p.spec.Selector.MatchLabels) > 0
	switch {
	case selects && p.namespace() == namespace && covers(p.spec.Selector.MatchLabels, labels):
		return 3
	case selects:
		return 0
	case p.namespace() == namespace:
		return 2
	case p.namespace() == rootNamespace:
		return 1
	}
	return 0
}

// checkPortModes finds modes that are set for the port of a Service where that
// of the workload is meant.
func (w *world) checkPortModes() {
	for _, p := range w.peerAuthentications {
		if p.spec.Selector == nil {
			continue
		}
		behind := w.servicesOf(p.namespace(), p.spec.Selector.MatchLabels)
		for _, number := range slices.Sorted(maps.Keys(p.spec.PortLevelMTLS)) {
			port, err := strconv.Atoi(number)
			s, target := misplaced(behind, port)
			if err != nil || s == nil {
				continue
			}
			w.say(p.thing, mizzen.Finding{
				Code: mizzen.CodePortOfService, Severity: mizzen.Warning, Path: mizzen.Path("spec.portLevelMtls").Key(number),
				Message: fmt.Sprintf("port %d is that of the Service %s; what it sends goes to port %d of the workload, whose mode stays as it is", port, s.name(), target),
				Remedy:  fmt.Sprintf("write %d: portLevelMtls takes the ports of workloads", target),
			})
		}
	}
}

// misplaced returns the Service that has a port which leads to another one of
// the workload; nil if some Service leads to the port itself.
func misplaced(services []*service, port int) (of *service, target int) {
	for _, s := range services {
		for _, p := range s.spec.Ports {
			switch t := p.target(); {
			case t == port || t == 0:
				return nil, 0
			case p.Port == port && of == nil:
				of, target = s, t
			}
		}
	}
	return of, target
}

// servicesOf returns the Services of workloads that have labels.
func (w *world) servicesOf(namespace string, labels map[string]string) []*service {
	var list []*service
	for _, s := range w.services {
		if s.namespace() != namespace {
			continue
		}
		if slices.ContainsFunc(w.behind(s), func(l *workload) bool { return covers(labels, l.labels) }) {
			list = append(list, s)
		}
	}
	return list
}

// checkEmptyPolicies finds policies of the action ALLOW that do not say what
// they allow: without rules they deny everything, with an empty rule nothing.
// A policy with an empty spec is a known way to deny by default.
func (w *world) checkEmptyPolicies() {
	for _, p := range w.policies {
		if p.spec.Action != "" && p.spec.Action != "ALLOW" {
			continue
		}
		if len(p.spec.Rules) == 0 {
			w.checkNoRules(p)
		}
		for i, r := range p.spec.Rules {
			if len(r.From) == 0 && len(r.To) == 0 && len(r.When) == 0 {
				w.say(p.thing, mizzen.Finding{
					Code: mizzen.CodeEmptyPolicy, Severity: mizzen.Warning, Path: mizzen.Path("spec.rules").Index(i),
					Message: "the rule has no condition, so that every request is allowed",
					Remedy:  "add from, to or when, or remove the policy",
				})
			}
		}
	}
}

func (w *world) checkNoRules(p *authorizationPolicy) {
	f := mizzen.Finding{Code: mizzen.CodeEmptyPolicy}
	_, written := mizzen.Path("spec.rules").Lookup(p.object.Object)
	switch {
	case written:
		f.Severity, f.Path = mizzen.Warning, "spec.rules"
		f.Message = "the policy allows nothing, so that every request is denied"
		f.Remedy = "write the rules; to deny everything on purpose, leave rules out"
	case p.spec.Selector != nil || p.spec.TargetRef != nil || len(p.spec.TargetRefs) > 0:
		f.Severity, f.Path = mizzen.Info, "spec"
		f.Message = "the policy has no rules, so that every request to the workloads is denied"
		f.Remedy = "add rules, or say why in the annotation " + mizzen.AnnotationLintIgnore
	default:
		return
	}
	w.say(p.thing, f)
}

// httpFields are those of an operation or a source that only HTTP has.
var httpFields = []string{
	"hosts", "notHosts", "methods", "notMethods", "paths", "notPaths", "requestPrincipals", "notRequestPrincipals",
}

// needsHTTP returns the field of a rule that only HTTP has, or "".
func (r policyRule) needsHTTP() string {
	for _, f := range r.From {
		for _, name := range httpFields {
			if _, ok := f.Source[name]; ok {
				return name
			}
		}
	}
	for _, t := range r.To {
		for _, name := range httpFields {
			if _, ok := t.Operation[name]; ok {
				return name
			}
		}
	}
	for _, c := range r.When {
		if strings.HasPrefix(c.Key, "request.") {
			return c.Key
		}
	}
	return ""
}

// ports returns those that a rule names.
func (r policyRule) ports() []string {
	var ports []string
	for _, t := range r.To {
		list, _ := t.Operation["ports"].([]any)
		for _, p := range list {
			ports = append(ports, fmt.Sprint(p))
		}
	}
	return ports
}

// checkPolicyProtocols finds rules about HTTP for ports that are TCP to Istio.
func (w *world) checkPolicyProtocols() {
	for _, p := range w.policies {
		if p.spec.Selector == nil {
			continue
		}
		services := w.servicesOf(p.namespace(), p.spec.Selector.MatchLabels)
		for i, r := range p.spec.Rules {
			field := r.needsHTTP()
			if field == "" || !onlyTCP(services, r.ports()) {
				continue
			}
			effect := "the rule never matches there"
			if p.spec.Action == "DENY" {
				effect = "it is left out there, and the rule denies more than it says"
			}
			w.say(p.thing, mizzen.Finding{
				Code: mizzen.CodeHTTPPolicyOnTCP, Severity: mizzen.Warning, Path: mizzen.Path("spec.rules").Index(i),
				Message: fmt.Sprintf("%s is a matter of HTTP, but the ports of %s are TCP: %s", field, services[0].host, effect),
				Remedy:  "name the port of the Service http-…, or set its appProtocol, if it speaks HTTP; else use ports, principals and namespaces only",
			})
		}
	}
}

// tcpNames are the protocols that Istio does not look into.
var tcpNames = []string{"tcp", "tls", "https", "mongo", "mysql", "redis"}

// onlyTCP tells whether the ports that a rule is for are TCP for certain; all
// ports if it names none.
func onlyTCP(services []*service, ports []string) bool {
	found := false
	for _, s := range services {
		for _, p := range s.spec.Ports {
			if len(ports) > 0 && !slices.Contains(ports, strconv.Itoa(p.target())) {
				continue
			}
			protocol := p.AppProtocol
			if protocol == "" {
				protocol, _, _ = strings.Cut(p.Name, "-")
			}
			if !slices.Contains(tcpNames, strings.ToLower(protocol)) {
				return false
			}
			found = true
		}
	}
	return found
}
