// Package beside reads what a cluster has beside Git: the objects that decide
// about traffic and that no repository holds, such as those that people applied
// by hand or that another repository deploys.
//
// A cluster comes in, objects go out. Secrets are never read, and no values of
// ConfigMaps but istiod's own.
package beside

import (
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/live"
	"mizzen.dev/mizzen/internal/traffic/inject"
)

// root is where istiod's own settings are.
const root = "istio-system"

// queries are the kinds that matter to a mesh.
var queries = []live.Query{
	{Kind: "Namespace"},
	{Kind: "Service"},
	{Kind: "Pod"},
	{Kind: "ReplicationController"},
	{Kind: "ConfigMap", Namespace: root, Name: "istio"},
	{Kind: "ConfigMap", Namespace: root, Name: "istio-sidecar-injector"},
	{Group: "apps", Kind: "Deployment"},
	{Group: "apps", Kind: "StatefulSet"},
	{Group: "apps", Kind: "DaemonSet"},
	{Group: "apps", Kind: "ReplicaSet"},
	{Group: "batch", Kind: "Job"},
	{Group: "batch", Kind: "CronJob"},
	{Group: "argoproj.io", Kind: "Rollout"},
	{Group: "networking.k8s.io", Kind: "Ingress"},
	{Group: "networking.k8s.io", Kind: "IngressClass"},
	{Group: "networking.istio.io"},
	{Group: "security.istio.io"},
	{Group: "telemetry.istio.io"},
	{Group: "extensions.istio.io"},
	{Group: "gateway.networking.k8s.io"},
}

// webhooks are the kinds of which a part of the users may read nothing. Without
// them the labels of namespaces tell who is injected.
var webhooks = []live.Query{{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}}

// makers are the kinds whose objects the model makes by itself: of a workload
// it makes the pods, and of a Gateway of the Gateway API what istiod deploys.
var makers = map[schema.GroupKind]bool{
	{Group: "apps", Kind: "Deployment"}: true, {Group: "apps", Kind: "StatefulSet"}: true, {Group: "apps", Kind: "DaemonSet"}: true,
	{Group: "apps", Kind: "ReplicaSet"}: true, {Group: "batch", Kind: "Job"}: true, {Group: "batch", Kind: "CronJob"}: true,
	{Kind: "ReplicationController"}: true, {Group: "argoproj.io", Kind: "Rollout"}: true,
	{Group: "gateway.networking.k8s.io", Kind: "Gateway"}: true,
}

// Read returns the objects of a cluster that matter to its mesh, sorted by
// identity. They have no Origins. Errors are those of live: of Kind Unreachable,
// Timeout, Forbidden, or TooLarge.
func Read(ctx context.Context, cluster *live.Cluster) ([]mizzen.Object, error) {
	found, err := cluster.List(ctx, queries, keep)
	if err != nil {
		return nil, err
	}
	injectors, err := cluster.List(ctx, webhooks, func(o *unstructured.Unstructured) bool {
		return inject.Relevant(mizzen.Object{Unstructured: o}.Ref())
	})
	if err != nil && mizzen.KindOf(err) != mizzen.Forbidden {
		return nil, err
	}
	found = append(found, injectors...)
	slices.SortFunc(found, func(a, b *unstructured.Unstructured) int {
		return mizzen.CompareRefs(mizzen.Object{Unstructured: a}.Ref(), mizzen.Object{Unstructured: b}.Ref())
	})
	out := make([]mizzen.Object, 0, len(found))
	for _, o := range found {
		o.SetManagedFields(nil) // who wrote what is half of the bytes
		out = append(out, mizzen.Object{Unstructured: o})
	}
	return out, nil
}

// keep leaves out what the model makes by itself, and what has ended.
func keep(o *unstructured.Unstructured) bool {
	if owner := metav1.GetControllerOf(o); owner != nil {
		gv, err := schema.ParseGroupVersion(owner.APIVersion)
		if err == nil && makers[schema.GroupKind{Group: gv.Group, Kind: owner.Kind}] {
			return false
		}
	}
	status, _, _ := unstructured.NestedMap(o.Object, "status") // without one nothing has ended
	switch o.GetKind() {
	case "Pod":
		return status["phase"] != "Succeeded" && status["phase"] != "Failed"
	case "Job":
		return status["completionTime"] == nil
	case "ReplicaSet":
		replicas, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
		return replicas > 0
	}
	return true
}

// Of returns the live objects that none of the sides has.
func Of(objects []mizzen.Object, sides ...[]mizzen.Object) []mizzen.Object {
	known := map[mizzen.Ref]bool{}
	for _, side := range sides {
		for _, o := range side {
			known[o.Ref()] = true
		}
	}
	var out []mizzen.Object
	for _, o := range objects {
		if !known[o.Ref()] {
			out = append(out, o)
		}
	}
	return out
}
