package policy

import (
	"slices"
	"strings"

	"mizzen.dev/mizzen"
)

// Place is where something that an Effect touches is defined.
type Place struct {
	Namespace string
	Origin    mizzen.Origin
}

// Places finds the objects behind the names in Effects: workloads by
// namespace/name, hosts by the objects that define them.
type Places struct {
	byName map[string][]Place
}

// workloadKinds are the kinds whose name is that of a workload.
var workloadKinds = []string{
	"apps/Deployment", "apps/StatefulSet", "apps/DaemonSet", "apps/ReplicaSet", "batch/Job", "batch/CronJob", "/Pod",
	"networking.istio.io/WorkloadEntry", "networking.istio.io/WorkloadGroup", "argoproj.io/Rollout",
	"gateway.networking.k8s.io/Gateway",
}

// hostFields are where kinds name hosts. A "*" stands for each element.
var hostFields = map[string][][]string{
	"networking.istio.io/VirtualService":  {{"spec", "hosts"}},
	"networking.istio.io/ServiceEntry":    {{"spec", "hosts"}},
	"networking.istio.io/Gateway":         {{"spec", "servers", "*", "hosts"}},
	"gateway.networking.k8s.io/Gateway":   {{"spec", "listeners", "*", "hostname"}},
	"gateway.networking.k8s.io/HTTPRoute": {{"spec", "hostnames"}},
	"gateway.networking.k8s.io/GRPCRoute": {{"spec", "hostnames"}},
	"gateway.networking.k8s.io/TLSRoute":  {{"spec", "hostnames"}},
	"networking.k8s.io/Ingress":           {{"spec", "rules", "*", "host"}},
}

// NewPlaces indexes objects of both sides of a change; what is on both sides is
// given once or twice.
func NewPlaces(sides ...[]mizzen.Object) *Places {
	p := &Places{byName: map[string][]Place{}}
	for _, objects := range sides {
		for _, o := range objects {
			p.add(o)
		}
	}
	return p
}

func (p *Places) add(o mizzen.Object) {
	ref := o.Ref()
	kind := ref.Group + "/" + ref.Kind
	place := Place{Namespace: ref.Namespace, Origin: o.Origins.Object}
	switch {
	case ref.Kind == "Service" && ref.Group == "":
		p.put(ref.Name+"."+ref.Namespace, place)
	case ref.Kind == "Namespace" && ref.Group == "":
		p.put(ref.Name, Place{Namespace: ref.Name, Origin: place.Origin})
	case slices.Contains(workloadKinds, kind):
		p.put(ref.Namespace+"/"+ref.Name, place)
	}
	for _, field := range hostFields[kind] {
		for _, host := range texts(o.Object, field) {
			// A Gateway limits a host to a namespace: "shop/shop.example.com".
			if _, rest, ok := strings.Cut(host, "/"); ok {
				host = rest
			}
			p.put(shortHost(host, ref.Namespace), place)
		}
	}
}

func (p *Places) put(name string, place Place) {
	known := p.byName[name]
	same := func(k Place) bool {
		return k.Namespace == place.Namespace && k.Origin.File == place.Origin.File && nearest(k.Origin) == nearest(place.Origin)
	}
	if name != "" && !slices.ContainsFunc(known, same) {
		p.byName[name] = append(known, place)
	}
}

// texts reads the strings at a path.
func texts(value any, path []string) []string {
	if len(path) == 0 {
		switch v := value.(type) {
		case string:
			return []string{v}
		case []any:
			var out []string
			for _, e := range v {
				out = append(out, texts(e, nil)...)
			}
			return out
		}
		return nil
	}
	if path[0] == "*" {
		list, _ := value.([]any)
		var out []string
		for _, e := range list {
			out = append(out, texts(e, path[1:])...)
		}
		return out
	}
	m, _ := value.(map[string]any)
	return texts(m[path[0]], path[1:])
}

// shortHost returns a host in the form in which Services are indexed:
// "reviews.shop" for reviews, reviews.shop.svc and reviews.shop.svc.cluster.local.
func shortHost(host, namespace string) string {
	if name, domain, ok := strings.Cut(host, ".svc"); ok && (domain == "" || domain[0] == '.') {
		return name
	}
	if namespace != "" && host != "" && host != "*" && !strings.Contains(host, ".") {
		return host + "." + namespace
	}
	return host
}

// Where returns the places behind a name in an Effect: a workload, a host with or
// without a port and a path, or several of them in words. It is nil if none
// is known.
func (p *Places) Where(name string) []Place {
	var found []Place
	for _, word := range strings.Fields(name) {
		for _, place := range p.word(strings.Trim(word, ",;()")) {
			if !slices.ContainsFunc(found, func(f Place) bool { return f.Namespace == place.Namespace && f.Origin.File == place.Origin.File }) {
				found = append(found, place)
			}
		}
	}
	return found
}

func (p *Places) word(word string) []Place {
	if _, rest, ok := strings.Cut(word, "://"); ok {
		word = rest
	}
	if at := strings.LastIndexByte(word, ':'); at > 0 && strings.Trim(word[at+1:], "0123456789") == "" {
		word = word[:at]
	}
	if found := p.byName[word]; found != nil {
		return found
	}
	host, _, _ := strings.Cut(word, "/")
	if at := strings.LastIndexByte(host, ':'); at > 0 {
		host = host[:at]
	}
	return p.byName[shortHost(host, "")]
}

// nearest is the file that is nearest to the object: the overlay that patches a
// base, or the values file of a chart, else the file itself. Who owns a base
// that is shared by many is not who owns what is made of it.
func nearest(o mizzen.Origin) string {
	if n := len(o.Via); n > 0 && o.Via[n-1].File != "" {
		return o.Via[n-1].File
	}
	return o.File
}
