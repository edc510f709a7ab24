package compile

import (
	"cmp"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
)

// scalers are the kinds that decide how many pods a workload has, and where they
// name it: what the workload itself says counts for nothing then. A progressive
// delivery scales to none what another workload stands in for.
var scalers = map[mizzen.Ref]string{
	{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}: "scaleTargetRef",
	{Group: "keda.sh", Kind: "ScaledObject"}:                "scaleTargetRef",
	{Group: "argoproj.io", Kind: "Rollout"}:                 "workloadRef",
	{Group: "flagger.app", Kind: "Canary"}:                  "targetRef",
}

// Scales tells whether an object of this identity may decide about the number of
// pods of a workload, beside it.
func Scales(r mizzen.Ref) bool { return scalers[mizzen.Ref{Group: r.Group, Kind: r.Kind}] != "" }

// scaledBy returns the workloads whose number of pods another object decides
// about, without their group.
func scaledBy(objects []mizzen.Object) map[mizzen.Ref]bool {
	out := map[mizzen.Ref]bool{}
	for _, o := range objects {
		if target := scaleTarget(o); target.Name != "" {
			out[target] = true
		}
	}
	return out
}

// scaleTarget is the workload, without its group, of which an object decides how
// many pods it has; it has no name if there is none.
func scaleTarget(o mizzen.Object) mizzen.Ref {
	field := scalers[kindOf(o)]
	if field == "" {
		return mizzen.Ref{}
	}
	kind, _, _ := unstructured.NestedString(o.Object, "spec", field, "kind") // who names nothing scales nothing
	name, _, _ := unstructured.NestedString(o.Object, "spec", field, "name")
	return mizzen.Ref{Kind: cmp.Or(kind, "Deployment"), Namespace: o.GetNamespace(), Name: name} // as KEDA takes it
}

// idle tells whether a workload has no pods: it says so, and nobody else
// decides about it.
func (in *input) idle(o mizzen.Object) bool {
	replicas, said, err := unstructured.NestedFieldNoCopy(o.Object, "spec", "replicas")
	if err != nil || !said || in.scaled[mizzen.Ref{Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName()}] {
		return false
	}
	switch n := replicas.(type) {
	case int64:
		return n == 0
	case float64: // as JSON between processes has it
		return n == 0
	}
	return false
}
