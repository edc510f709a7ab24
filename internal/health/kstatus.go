package health

import (
	"fmt"
	"maps"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// judgeByStatus asks kstatus, and says its answer in our words: what kstatus
// calls "Ready: 2/3" is "2 of 3 replicas ready: …" with the cause that a
// condition of the object gives.
func judgeByStatus(obj *unstructured.Unstructured) Judgement {
	if stale, message := notObserved(obj.Object); stale {
		return Judgement{Status: Progressing, Message: message}
	}
	if _, ok := obj.Object["status"].(map[string]any); !ok && !kstatusKnows(obj.GroupVersionKind().GroupKind()) {
		return Judgement{Status: Healthy}
	}
	result, err := compute(obj)
	if err != nil {
		return Judgement{Status: Unknown, Message: "status cannot be read: " + err.Error()}
	}
	j := Judgement{Message: result.Message}
	switch result.Status {
	case status.CurrentStatus:
		j.Status = Healthy
	case status.InProgressStatus, status.TerminatingStatus:
		j.Status = Progressing
	case status.FailedStatus:
		j.Status = Degraded
	case status.NotFoundStatus:
		j.Status = Missing
	default:
		j.Status = Unknown
	}
	if words := inWords(obj, j.Status); words != "" {
		j.Message = words
	}
	return j
}

// compute is kstatus's, which panics where a field has an unexpected type.
func compute(obj *unstructured.Unstructured) (result *status.Result, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("a field has an unexpected type: %v", r)
		}
	}()
	return status.Compute(withoutOddGeneration(obj))
}

// withoutOddGeneration hides a status.observedGeneration that is no number from
// kstatus, which would refuse the object for it. Whether it is behind was asked
// before.
func withoutOddGeneration(obj *unstructured.Unstructured) *unstructured.Unstructured {
	observed, found, err := unstructured.NestedFieldNoCopy(obj.Object, "status", "observedGeneration")
	if _, number := observed.(int64); number || !found || err != nil {
		return obj
	}
	statusMap, _ := obj.Object["status"].(map[string]any)
	shallow := maps.Clone(obj.Object)
	statusMap = maps.Clone(statusMap)
	delete(statusMap, "observedGeneration")
	shallow["status"] = statusMap
	return &unstructured.Unstructured{Object: shallow}
}

// workload says where the numbers of a kind stand.
type workload struct {
	noun                        string
	desired                     []string
	updated, available, current string
}

var workloads = map[string]workload{
	"apps/Deployment":  {"replica", []string{"spec", "replicas"}, "updatedReplicas", "availableReplicas", "replicas"},
	"apps/StatefulSet": {"replica", []string{"spec", "replicas"}, "updatedReplicas", "readyReplicas", "replicas"},
	"apps/ReplicaSet":  {"replica", []string{"spec", "replicas"}, "replicas", "availableReplicas", "replicas"},
	"apps/DaemonSet":   {"pod", []string{"status", "desiredNumberScheduled"}, "updatedNumberScheduled", "numberAvailable", "currentNumberScheduled"},
}

// inWords says how far a workload is, or "" for other kinds and for those
// without a status.
func inWords(obj *unstructured.Unstructured, is Status) string {
	w, ok := workloads[kindName(obj.GroupVersionKind().GroupKind())]
	if !ok {
		return ""
	}
	desired, found := numberAt(obj.Object, w.desired...)
	if !found {
		desired = 1 // the API's default
	}
	updated, _ := numberAt(obj.Object, "status", w.updated)
	available, _ := numberAt(obj.Object, "status", w.available)
	current, _ := numberAt(obj.Object, "status", w.current)
	noun := w.noun + "s"
	if desired == 1 {
		noun = w.noun
	}
	state := fmt.Sprintf("%d of %d %s available", min(available, desired), desired, noun)
	switch {
	case is == Healthy:
		return state
	case updated < desired && updated < current:
		state = fmt.Sprintf("%d of %d %s updated, %d available", updated, desired, noun, min(available, desired))
	case available >= desired && current > desired:
		state += fmt.Sprintf("; %d old to go", current-desired)
	}
	if cause := workloadCause(obj.Object); cause != "" {
		state += ": " + cause
	}
	return state
}

// workloadCause is the condition that says why a workload does not get on.
func workloadCause(object map[string]any) string {
	var causes []string
	for _, c := range conditionsOf(object) {
		switch {
		case c.kind == "ReplicaFailure" && c.status == "True":
			return c.why()
		case c.kind == "Progressing" && c.status == "False" && c.reason == "ProgressDeadlineExceeded":
			causes = append(causes, "progress deadline exceeded: "+c.message)
		case c.kind == "Progressing" && c.status == "False":
			causes = append(causes, c.why())
		}
	}
	return strings.Join(causes, "; ")
}

func numberAt(object map[string]any, at ...string) (int64, bool) {
	value, found, err := unstructured.NestedFieldNoCopy(object, at...)
	if !found || err != nil {
		return 0, false
	}
	return whole(value)
}
