package apply

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
)

// stages lists kinds in the order in which they are applied, within a wave:
// first what others live in or are made of, last what judges the writes of
// others. A stage begins when the one before has been applied; the first one
// is also waited for. Kinds that are not named go into stageOthers.
var stages = [][]schema.GroupKind{
	{{Kind: "Namespace"}, {Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}},
	{
		{Group: "scheduling.k8s.io", Kind: "PriorityClass"},
		{Group: "storage.k8s.io", Kind: "StorageClass"},
		{Group: "storage.k8s.io", Kind: "CSIDriver"},
		{Group: "networking.k8s.io", Kind: "IngressClass"},
		{Group: "node.k8s.io", Kind: "RuntimeClass"},
		{Group: "gateway.networking.k8s.io", Kind: "GatewayClass"},
	},
	{{Kind: "ResourceQuota"}, {Kind: "LimitRange"}, {Group: "networking.k8s.io", Kind: "NetworkPolicy"}},
	{{Kind: "ServiceAccount"}},
	{
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"},
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"},
		{Group: "rbac.authorization.k8s.io", Kind: "Role"},
		{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"},
	},
	{{Kind: "Secret"}, {Kind: "ConfigMap"}},
	{{Kind: "PersistentVolume"}, {Kind: "PersistentVolumeClaim"}},
	{{Kind: "Service"}, {Kind: "Endpoints"}, {Group: "discovery.k8s.io", Kind: "EndpointSlice"}, {Group: "policy", Kind: "PodDisruptionBudget"}},
	{
		{Kind: "Pod"},
		{Kind: "ReplicationController"},
		{Kind: "PodTemplate"},
		{Group: "apps", Kind: "Deployment"},
		{Group: "apps", Kind: "StatefulSet"},
		{Group: "apps", Kind: "DaemonSet"},
		{Group: "apps", Kind: "ReplicaSet"},
		{Group: "batch", Kind: "Job"},
		{Group: "batch", Kind: "CronJob"},
		{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"},
	},
	{}, // stageOthers: custom resources, Ingresses and so on
	{{Group: "apiregistration.k8s.io", Kind: "APIService"}},
	{
		{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"},
		{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"},
		{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicy"},
		{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicyBinding"},
		{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicy"},
		{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicyBinding"},
	},
}

const (
	stageFoundations = 0
	stageOthers      = 9
)

var stageOf = func() map[schema.GroupKind]int {
	index := map[schema.GroupKind]int{}
	for i, kinds := range stages {
		for _, gk := range kinds {
			index[gk] = i
		}
	}
	return index
}()

func stage(gk schema.GroupKind) int {
	if i, ok := stageOf[gk]; ok {
		return i
	}
	return stageOthers
}

// group is what is carried out at the same time.
type group struct {
	wave, stage int
	changes     []mizzen.Change
}

// groups sorts changes into waves and stages, in the order of applying.
func groups(changes []mizzen.Change) []group {
	sorted := slices.Clone(changes)
	slices.SortStableFunc(sorted, func(a, b mizzen.Change) int {
		return cmp.Or(
			cmp.Compare(a.Wave, b.Wave),
			cmp.Compare(stage(a.Ref.GroupKind()), stage(b.Ref.GroupKind())),
			mizzen.CompareRefs(a.Ref, b.Ref),
		)
	})
	var out []group
	for _, c := range sorted {
		s := stage(c.Ref.GroupKind())
		if len(out) == 0 || out[len(out)-1].wave != c.Wave || out[len(out)-1].stage != s {
			out = append(out, group{wave: c.Wave, stage: s})
		}
		last := &out[len(out)-1]
		last.changes = append(last.changes, c)
	}
	return out
}
