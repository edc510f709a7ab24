package labtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"

	"mizzen.dev/mizzen/internal/labtest"
)

func TestPodBecomesReady(t *testing.T) {
	l := labtest.Start(t, labtest.ControlPlane)
	client := kubernetes.NewForConfigOrDie(l.Config)
	pods := client.CoreV1().Pods(l.Namespace)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "example.test/web"}}},
	}
	if _, err := pods.Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	labtest.Eventually(t, "the pod to be ready", func(ctx context.Context) bool {
		p, err := pods.Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return false
		}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady {
				return c.Status == corev1.ConditionTrue
			}
		}
		return false
	})
}

// TestProcessesShareOneLab: the packages of a test run are processes, and find
// the lab of the first of them, even if they come at the same time.
func TestProcessesShareOneLab(t *testing.T) {
	const child, found = "LABTEST_CHILD", "found the lab "
	l := labtest.Start(t, labtest.ControlPlane)
	system, err := kubernetes.NewForConfigOrDie(l.Config).CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	here := found + l.Dir + " " + string(system.UID)
	if os.Getenv(child) != "" {
		fmt.Println(here)
		return
	}
	var others sync.WaitGroup
	for range 2 {
		others.Go(func() {
			other := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcessesShareOneLab$")
			other.Env = append(os.Environ(), child+"=1")
			out, err := other.CombinedOutput()
			if err != nil {
				t.Errorf("another process: %v\n%s", err, out)
			}
			if !strings.Contains(string(out), here+"\n") {
				t.Errorf("this process %s, another says\n%s", here, out)
			}
		})
	}
	others.Wait()
}

func TestAuditCountsRequestsByUser(t *testing.T) {
	l := labtest.Start(t, labtest.ControlPlane)
	as := *l.Config
	as.Impersonate.UserName = "system:serviceaccount:" + l.Namespace + ":default"
	admin, account := kubernetes.NewForConfigOrDie(l.Config), kubernetes.NewForConfigOrDie(&as)

	if _, err := admin.CoreV1().ConfigMaps(l.Namespace).List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	mark := l.Audit(t)
	for range 3 {
		if _, err := admin.CoreV1().ConfigMaps(l.Namespace).List(t.Context(), metav1.ListOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := account.CoreV1().Secrets(l.Namespace).Get(t.Context(), "some", metav1.GetOptions{})
	if !apierrors.IsForbidden(err) {
		t.Fatalf("a service account without rights reads a Secret: %v", err)
	}

	if n := mark.Count(t, labtest.By{Verb: "list", Resource: "configmaps", Namespace: l.Namespace, User: "lab:admin"}); n != 3 {
		t.Errorf("%d lists of ConfigMaps logged, want 3", n)
	}
	want := labtest.Request{
		User: "lab:admin", As: as.Impersonate.UserName, Verb: "get", Resource: "secrets",
		Namespace: l.Namespace, Name: "some", Code: 403,
		URI: "/api/v1/namespaces/" + l.Namespace + "/secrets/some",
	}
	var got []labtest.Request
	for _, r := range mark.Requests(t) {
		if r.As == want.As {
			r.UserAgent = ""
			got = append(got, r)
		}
	}
	if diff := cmp.Diff([]labtest.Request{want}, got); diff != "" {
		t.Errorf("requests of the service account (-want +got):\n%s", diff)
	}
}

func TestRepoAnnouncesPushes(t *testing.T) {
	l := labtest.Start(t, labtest.Git)
	events := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e struct{ Before, After string }
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Error(err)
		}
		events <- e.Before + ".." + e.After
	}))
	defer receiver.Close()

	repo := l.Repo(t, map[string]string{"apps/web.yaml": "replicas: 1\n"})
	first := repo.Git(t, "rev-parse", "HEAD")
	repo.Hook(t, receiver.URL, "secret")
	second := repo.Push(t, repo.Commit(t, "Scale", map[string]string{"apps/web.yaml": "replicas: 2\n"}))
	select {
	case got := <-events:
		if want := first + ".." + second; got != want {
			t.Errorf("push announced as %s, want %s", got, want)
		}
	case <-t.Context().Done():
		t.Fatal("the push was not announced")
	}
	if got := repo.Git(t, "ls-remote", repo.URL, "main"); !strings.HasPrefix(got, second) {
		t.Errorf("the server has %s, want %s", got, second)
	}
}

func TestProtectedRepoRefusesStrangers(t *testing.T) {
	l := labtest.Start(t, labtest.Git)
	repo := l.ProtectedRepo(t, "ada", "s3cret", map[string]string{"a": "1"})
	for _, c := range []struct {
		user, password string
		want           int
	}{
		{"", "", 401},
		{"ada", "wrong", 401},
		{"ada", "s3cret", 200},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, repo.URL+"/info/refs?service=git-upload-pack", nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.user != "" {
			r.SetBasicAuth(c.user, c.password)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != c.want {
			t.Errorf("%s:%s gets %d, want %d", c.user, c.password, response.StatusCode, c.want)
		}
	}
}

func TestOutageOfTheSecondCluster(t *testing.T) {
	l := labtest.Private(t, labtest.ControlPlane|labtest.SecondCluster)
	second := l.Second(t)
	client := kubernetes.NewForConfigOrDie(second.Config)
	get := func() error {
		_, err := client.CoreV1().Namespaces().Get(t.Context(), second.Namespace, metav1.GetOptions{})
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	l.Stop(t, second)
	if err := get(); !utilnet.IsConnectionRefused(err) {
		t.Errorf("during the outage: %v, want connection refused", err)
	}
	first := kubernetes.NewForConfigOrDie(l.Config)
	if _, err := first.CoreV1().Namespaces().Get(t.Context(), l.Namespace, metav1.GetOptions{}); err != nil {
		t.Errorf("the first cluster suffers too: %v", err)
	}
	l.Resume(t, second)
	if err := get(); err != nil {
		t.Errorf("after the outage, with the old kubeconfig: %v", err)
	}
}
