package live

import (
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// exclusiveGroups are API groups whose objects mean something else as soon as
// anybody adds a field: they route traffic, or say who may do what.
var exclusiveGroups = map[string]bool{
	"gateway.networking.k8s.io":   true,
	"gateway.networking.x-k8s.io": true,
	"rbac.authorization.k8s.io":   true,
	"policy.networking.k8s.io":    true,
	"networking.istio.io":         true,
	"security.istio.io":           true,
	"telemetry.istio.io":          true,
	"extensions.istio.io":         true,
}

// exclusiveKinds are such kinds of groups that hold others as well.
var exclusiveKinds = map[schema.GroupKind]bool{
	{Group: "networking.k8s.io", Kind: "NetworkPolicy"}:                               true,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}:     true,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"}:   true,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicy"}:        true,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicyBinding"}: true,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicy"}:          true,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicyBinding"}:   true,
}

// Exclusive tells whether strangers may not add fields to objects of the kind:
// fields that they add are drift, and are taken away again.
func (c *Cluster) Exclusive(gk schema.GroupKind) bool {
	return exclusiveGroups[gk.Group] || exclusiveKinds[gk] || c.exclusive[gk]
}

// ParseGroupKind reads the "Kind.group" form of an Application's
// sync.exclusive; a kind of the core group has no dot.
func ParseGroupKind(s string) schema.GroupKind {
	kind, group, _ := strings.Cut(s, ".")
	return schema.GroupKind{Group: group, Kind: kind}
}
