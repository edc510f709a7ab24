package mesh

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
)

// plainProtocols are those of a server that ends no TLS.
var plainProtocols = []string{"HTTP", "HTTP2", "GRPC", "GRPC-WEB"}

// checkPlainHTTPS finds servers that speak plaintext at the port of HTTPS.
func (w *world) checkPlainHTTPS() {
	for _, g := range w.gateways {
		for i, s := range g.spec.Servers {
			if s.Port.Number != 443 || s.TLS != nil || !slices.Contains(plainProtocols, strings.ToUpper(s.Port.Protocol)) {
				continue
			}
			w.say(g.thing, mizzen.Finding{
				Code: mizzen.CodePlainHTTPS, Severity: mizzen.Warning, Path: mizzen.Path("spec.servers").Index(i).Key("port"),
				Message: fmt.Sprintf("the server on port 443 speaks %s without TLS: browsers cannot connect, and what does is not encrypted", s.Port.Protocol),
				Remedy:  "set protocol: HTTPS and tls with a mode and a certificate, or use port 80",
			})
		}
	}
}

// checkGatewayRoutes finds VirtualServices that route the same requests of one
// host at one gateway. Istio merges them in the order of their creation, so
// that which one counts is decided by their history.
func (w *world) checkGatewayRoutes() {
	type route struct{ gateway, host, match string }
	first := map[route]*virtualService{}
	for _, v := range w.virtualServices {
		told := map[*virtualService]bool{}
		for _, g := range v.spec.Gateways {
			if g == "mesh" {
				continue
			}
			if !strings.Contains(g, "/") {
				g = v.namespace() + "/" + g
			}
			for h, host := range v.spec.Hosts {
				for _, match := range v.matches() {
					key := route{g, host, match}
					other := first[key]
					if other == nil {
						first[key] = v
					} else if other != v && !told[other] {
						told[other] = true
						w.sayTwice(v, other, h, host, g)
					}
				}
			}
		}
	}
}

func (w *world) sayTwice(v, other *virtualService, h int, host, gateway string) {
	f := mizzen.Finding{
		Code: mizzen.CodeGatewayRouteTwice, Severity: mizzen.Warning,
		Message: fmt.Sprintf("the VirtualServices %s/%s and %s/%s route the same requests for %s at the gateway %s, and the one which was created first gets them",
			other.namespace(), other.name(), v.namespace(), v.name(), host, gateway),
		Remedy: "keep the rule in one of them; rules for different paths of a host may be in several",
	}
	// Either may be the one that is judged, and the one to change.
	at := v
	if !v.judged {
		at, h = other, slices.Index(other.spec.Hosts, host)
	}
	f.Path = mizzen.Path("spec.hosts").Index(h)
	w.say(at.thing, f)
}

// matches returns the conditions of the HTTP routes, each once, in a form that
// can be compared; "" is that of a route which takes everything.
func (v *virtualService) matches() []string {
	var list []string
	for _, r := range v.spec.HTTP {
		if len(r.Match) == 0 {
			list = append(list, "")
		}
		for _, m := range r.Match {
			condition := make(map[string]any, len(m))
			for key, value := range m {
				if key != "name" {
					condition[key] = value
				}
			}
			b, err := json.Marshal(condition)
			if err == nil {
				list = append(list, string(b))
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
