package live_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"

	"mizzen.dev/mizzen/internal/labtest"
	"mizzen.dev/mizzen/internal/live"
)

// Many who ask for one object each are answered by one list; few are not, and
// nothing that exists is ever called absent.
func TestAbsent(t *testing.T) {
	lab := labtest.Start(t, labtest.ControlPlane)
	client := kubernetes.NewForConfigOrDie(lab.Config)
	exists := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "cm-3"}}
	if _, err := client.CoreV1().ConfigMaps(lab.Namespace).Create(t.Context(), exists, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	cluster, err := live.New(lab.Config, live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	target := func(i int) live.Target {
		return live.Target{Kind: schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, Namespace: lab.Namespace, Name: fmt.Sprintf("cm-%d", i)}
	}
	if got := cluster.Absent(t.Context(), []live.Target{target(0), target(1)}); len(got) != 0 {
		t.Errorf("two targets were worth a list: %v", got)
	}
	// The demand of two calls within a second may fall into different seconds,
	// so one call asks for enough by itself.
	var all []live.Target
	for i := range 20 {
		all = append(all, target(i))
	}
	got := cluster.Absent(t.Context(), all)
	if len(got) != 19 || got[target(3).Ref()] || !got[target(4).Ref()] {
		t.Errorf("absent are %v", got)
	}
}
