package cli

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen/api/v1alpha1"
)

// condition returns a condition of an Application; one that it does not have
// yet is Unknown.
func condition(app *v1alpha1.Application, kind string) metav1.Condition {
	if c := meta.FindStatusCondition(app.Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{Type: kind, Status: metav1.ConditionUnknown, Message: "not evaluated yet"}
}

// inProgress tells whether the controller is still at it.
func inProgress(app *v1alpha1.Application) bool {
	synced := condition(app, v1alpha1.ConditionSynced)
	return app.Status.ObservedGeneration != app.Generation ||
		synced.Status != metav1.ConditionTrue && meta.IsStatusConditionTrue(app.Status.Conditions, v1alpha1.ConditionReconciling)
}
