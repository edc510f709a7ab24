package mesh

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mizzen.dev/mizzen"
)

// smallSum is up to which sum weights are taken for a ratio, such as 3 to 1,
// that was never meant to be in percent.
const smallSum = 20

// checkWeights finds weights that do not add up to 100. Envoy takes them as
// parts of their sum, so everybody gets another share than is written.
func (w *world) checkWeights() {
	for _, v := range w.virtualServices {
		for i, r := range v.spec.HTTP {
			w.weigh(v, r.Route, mizzen.Path("spec.http").Index(i).Key("route"))
		}
		for i, r := range v.spec.TLS {
			w.weigh(v, r.Route, mizzen.Path("spec.tls").Index(i).Key("route"))
		}
		for i, r := range v.spec.TCP {
			w.weigh(v, r.Route, mizzen.Path("spec.tcp").Index(i).Key("route"))
		}
	}
}

func (w *world) weigh(v *virtualService, to []weighted, at mizzen.Path) {
	sum := 0
	for _, d := range to {
		sum += d.Weight
	}
	if sum <= smallSum || sum == 100 {
		return
	}
	message := fmt.Sprintf("the weights of the route add up to %d, not to 100, so that the shares differ from what is written", sum)
	if len(to) == 1 {
		message = fmt.Sprintf("the weight %d of the only destination has no effect: it gets every request", sum)
	}
	w.say(v.thing, mizzen.Finding{
		Code: mizzen.CodeWeights, Severity: mizzen.Warning, Path: at, Message: message,
		Remedy: "let the weights add up to 100, or leave them out for a single destination",
	})
}

// checkHosts finds hosts of VirtualServices that no client can ask for, since
// no Service has the name.
func (w *world) checkHosts() {
	for _, v := range w.virtualServices {
		if !v.inMesh() {
			continue
		}
		for i, h := range v.spec.Hosts {
			host := resolve(h, v.namespace())
			namespace, ok := inCluster(host)
			if !ok || strings.Contains(host, "*") || w.byHost[host] != nil || w.entry(host) != nil || !w.served[namespace] {
				continue
			}
			w.say(v.thing, mizzen.Finding{
				Code: mizzen.CodeHostWithoutService, Severity: mizzen.Warning, Path: mizzen.Path("spec.hosts").Index(i),
				Message: fmt.Sprintf("the namespace %s has no Service for the host %s, so that nobody can send requests to it", namespace, host),
				Remedy:  "correct the host, or create the Service; a short host is looked up in the VirtualService's own namespace",
			})
		}
	}
}

// checkTimeouts finds timeouts that end before the retries are used up.
func (w *world) checkTimeouts() {
	for _, v := range w.virtualServices {
		for i, r := range v.spec.HTTP {
			if r.Retries == nil {
				continue
			}
			timeout, each := duration(r.Timeout), duration(r.Retries.PerTryTimeout)
			tries := r.Retries.Attempts + 1
			if timeout == 0 || each == 0 || r.Retries.Attempts < 1 || timeout >= each*time.Duration(tries) {
				continue
			}
			w.say(v.thing, mizzen.Finding{
				Code: mizzen.CodeTimeoutBeforeRetries, Severity: mizzen.Warning, Path: mizzen.Path("spec.http").Index(i).Key("timeout"),
				Message: fmt.Sprintf("the timeout %s ends before %d tries of %s each are over, so that the last ones are cut off", timeout, tries, each),
				Remedy:  fmt.Sprintf("set timeout to %s or more, or lower perTryTimeout or attempts", each*time.Duration(tries)),
			})
		}
	}
}

// duration returns 0 for what is none.
func duration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > 24*time.Hour {
		return 0
	}
	return d
}

// checkDelegates finds routes that are handed to a VirtualService which cannot
// take them.
func (w *world) checkDelegates() {
	for _, v := range w.virtualServices {
		for i, r := range v.spec.HTTP {
			if r.Delegate == nil {
				continue
			}
			namespace := r.Delegate.Namespace
			if namespace == "" {
				namespace = v.namespace()
			}
			if message := w.undelegated(namespace, r.Delegate.Name); message != "" {
				w.say(v.thing, mizzen.Finding{
					Code: mizzen.CodeDelegate, Severity: mizzen.Warning, Path: mizzen.Path("spec.http").Index(i).Key("delegate"), Message: message,
					Remedy: "correct the reference; a delegate has no hosts and no gateways, and delegates nothing itself",
				})
			}
		}
	}
}

// undelegated says why a VirtualService cannot be a delegate; "" if it can, or
// if its namespace is not known.
func (w *world) undelegated(namespace, name string) string {
	known := w.served[namespace]
	for _, v := range w.virtualServices {
		if v.namespace() != namespace {
			continue
		}
		known = true
		if v.name() != name {
			continue
		}
		nested := slices.ContainsFunc(v.spec.HTTP, func(r httpRoute) bool { return r.Delegate != nil })
		switch {
		case len(v.spec.Hosts) > 0:
			return fmt.Sprintf("the VirtualService %s/%s has hosts of its own, so that it is not used as a delegate and requests get 404", namespace, name)
		case nested:
			return fmt.Sprintf("the VirtualService %s/%s delegates in its turn, which Istio ignores", namespace, name)
		}
		return ""
	}
	if !known {
		return ""
	}
	return fmt.Sprintf("there is no VirtualService %s/%s to delegate to, so that requests get 404", namespace, name)
}
