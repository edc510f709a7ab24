package labtest

import (
	"context"
	"crypto/rand"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Cluster is one cluster of a lab as one test sees it.
type Cluster struct {
	// Name is "cluster-1" or "cluster-2".
	Name string
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig string
	// Config is the same for client-go, without limits of its own. It belongs
	// to the test: it may be changed.
	Config *rest.Config
	// Namespace is fresh, can run pods, and is deleted when the test ends.
	Namespace string
	// AuditLog is the path of the API server's log of requests, see Audit.
	AuditLog string
	// URLs are addresses on this host: "api", and on a live cluster "gateway",
	// "prometheus" and "load", which answer once those pods run.
	URLs map[string]string
}

func (l *Lab) cluster(t testing.TB, i int) *Cluster {
	t.Helper()
	if i >= len(l.clusters) {
		t.Fatal("the lab has no second cluster; start it with labtest.SecondCluster")
	}
	s := l.clusters[i]
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		t.Fatalf("kubeconfig of %s: %v", s.Name, err)
	}
	config.QPS = -1
	c := &Cluster{Name: s.Name, Kubeconfig: s.Kubeconfig, Config: config, AuditLog: s.AuditLog, URLs: s.URLs}
	c.Namespace = c.NewNamespace(t)
	return c
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// prefix is the test's name as the beginning of an object's name.
func prefix(t testing.TB) string {
	test := notInNames.ReplaceAllString(strings.ToLower(t.Name()), "-")
	return strings.Trim(test[:min(len(test), 40)], "-")
}

// NewNamespace creates a further namespace that is deleted when the test ends,
// and returns its name once pods can be created in it.
func (c *Cluster) NewNamespace(t testing.TB) string {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		t.Fatalf("client of %s: %v", c.Name, err)
	}
	name := prefix(t) + "-" + strings.ToLower(rand.Text()[:8])
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatalf("namespace: %v", err)
	}
	t.Cleanup(func() {
		// The test's own context has ended. The API server may be down on purpose.
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err := client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Logf("namespace %s stays: %v", name, err)
		}
	})
	Eventually(t, "the service account of the new namespace", func(ctx context.Context) bool {
		_, err := client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil
	})
	return name
}
