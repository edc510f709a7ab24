package compile

import (
	"fmt"
	"strings"

	networking "istio.io/api/networking/v1alpha3"
	security "istio.io/api/security/v1beta1"
	"istio.io/istio/pilot/pkg/features"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/resource"
	"istio.io/istio/pkg/jwt"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/specs"
)

// addConfig files an object of Istio's own. One that istiod's webhook refuses
// is rejected here.
func (in *input) addConfig(object mizzen.Object) {
	gvk := object.GroupVersionKind()
	s, known := collections.PilotGatewayAPI().FindByGroupVersionAliasesKind(resource.FromKubernetesGVK(&gvk))
	if !known {
		in.reject(object.Ref(), "", fmt.Sprintf("istiod knows no %s of %s", gvk.Kind, gvk.GroupVersion()))
		return
	}
	c, err := configOf(s, object)
	if err != nil {
		in.reject(object.Ref(), "spec", err.Error())
		return
	}
	if _, err := s.ValidateConfig(c); err != nil {
		in.reject(object.Ref(), "spec", err.Error())
		return
	}
	switch spec := c.Spec.(type) {
	case *networking.VirtualService:
		if in.names {
			nameRoutes(spec, c.Namespace, c.Name)
		}
	case *security.RequestAuthentication:
		leaveKeys(spec)
	}
	in.configs = append(in.configs, c)
}

func configOf(s resource.Schema, object mizzen.Object) (config.Config, error) {
	spec, ok := object.Object["spec"]
	if !ok {
		spec = map[string]any{}
	}
	typed, err := s.NewInstance()
	if err != nil {
		return config.Config{}, err
	}
	if err := specs.Fill(typed, spec); err != nil {
		return config.Config{}, err
	}
	since := oldest
	if t := object.GetCreationTimestamp(); !t.IsZero() {
		since = t.Time
	}
	return config.Config{
		Meta: config.Meta{
			GroupVersionKind: s.GroupVersionKind(), Name: object.GetName(), Namespace: object.GetNamespace(), Domain: domain,
			Labels: object.GetLabels(), Annotations: object.GetAnnotations(), CreationTimestamp: since,
		},
		Spec: typed,
	}, nil
}

// leaveKeys keeps istiod's code from asking the issuer for its keys: whether a
// token is valid is a premise of a question, not something to find out here.
func leaveKeys(spec *security.RequestAuthentication) {
	features.JwksFetchMode = jwt.Envoy
	for _, rule := range spec.JwtRules {
		if rule.Jwks == "" && rule.JwksUri == "" {
			rule.JwksUri = "https://" + strings.TrimPrefix(rule.Issuer, "https://") + "/.well-known/jwks.json"
		}
	}
}

// nameRoutes gives each HTTP route and match a name that says where it was
// written, since Envoy's routes keep these names.
func nameRoutes(vs *networking.VirtualService, namespace, name string) {
	for i, route := range vs.Http {
		route.Name = traffic.RouteName(namespace, name, i)
		for j, match := range route.Match {
			match.Name = traffic.MatchName(j)
		}
	}
}
