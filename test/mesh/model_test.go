package mesh

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/labtest"
)

// settling is how long istiod may take to send what was applied; the whole
// comparison shares it.
const settling = 40 * time.Second

// TestModel holds what Mizzen compiles offline to what the proxies of the shop
// have, and to what the live istiod sends to proxies in the namespaces of the
// scenarios in testdata/model. Their pods are on a simulated node: nothing runs
// in them, and istiod does not know.
func TestModel(t *testing.T) {
	lab := labtest.Start(t, labtest.ControlPlane|labtest.Git|labtest.Mesh)
	m := &team{T: t, lab: lab, core: kubernetes.NewForConfigOrDie(lab.Config), ns: lab.Namespace}
	fmt.Println("start", time.Now())
	scenarios := m.scenarios()
	fmt.Println("applied", time.Now())
	pods, err := m.core.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := &comparison{
		team: m, until: time.Now().Add(settling), model: compileOffline(t, m.meshObjects()), seen: map[string]bool{}, found: map[string][]string{},
	}
	fmt.Println("compiled", time.Now())
	addresses := form{}
	for i := range pods.Items {
		addresses[pods.Items[i].Status.PodIP] = workloadOf(&pods.Items[i])
	}
	var example *dump
	for i := range pods.Items {
		if pod := &pods.Items[i]; runsEnvoy(pod) {
			if pod.Labels["app"] == "web" {
				example = m.configDump(pod)
			}
			c.compare(pod, func() (resources, error) { return m.configDump(pod).resources(t, addresses), nil })
		}
	}
	istiod := m.plaintext()
	for i := range pods.Items {
		if pod := &pods.Items[i]; scenarios[pod.Namespace] != "" && !runsEnvoy(pod) {
			node := stranger(t, example.node, pod)
			c.compare(pod, func() (resources, error) { return sent(t.Context(), istiod, node, addresses) })
		}
	}
	c.report()
	if len(c.seen) < 8+2*len(scenarios) {
		t.Errorf("%d workloads were compared, of the shop and %d scenarios", len(c.seen), len(scenarios))
	}
}

// runsEnvoy tells whether a pod runs, with a proxy.
func runsEnvoy(pod *corev1.Pod) bool {
	return pod.Spec.NodeName == "lab-1" && pod.Status.Phase == corev1.PodRunning && slices.ContainsFunc(
		slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), func(c corev1.Container) bool { return c.Name == "istio-proxy" })
}

// comparison collects what differs, each difference once.
type comparison struct {
	*team
	until time.Time
	model compiled
	seen  map[string]bool
	// found has the proxies by the text of the difference.
	found map[string][]string
}

// compare compares one proxy of a workload with the model, until they are
// equal or time is up.
func (c *comparison) compare(pod *corev1.Pod, live func() (resources, error)) {
	c.Helper()
	name := workloadOf(pod)
	if c.seen[name] {
		return
	}
	c.seen[name] = true
	want, modelled := c.model.Proxies[name]
	if !modelled {
		c.Errorf("the model has no proxy of %s", name)
		return
	}
	for {
		start := time.Now()
		got, err := live()
		if d := os.Getenv("MODEL_DUMP"); d != "" {
			b, _ := json.Marshal(map[string]any{"model": want, "live": got})
			_ = os.WriteFile(d+"/"+strings.ReplaceAll(name, "/", "_")+".json", b, 0o644)
			fmt.Println(name, time.Since(start))
		}
		if err != nil {
			c.Fatalf("%s: %v", name, err)
		}
		differences := differ(want, got)
		if len(differences) == 0 {
			return
		}
		if time.Now().After(c.until) {
			for _, d := range differences {
				c.found[d] = append(c.found[d], name)
			}
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// differ returns what differs, as a text for each resource.
func differ(model, live resources) (out []string) {
	names := slices.Collect(maps.Keys(live))
	for name := range model {
		if _, ok := live[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		m, l := model[name], live[name]
		if m != l && !tolerated(name, m, l) {
			out = append(out, name+" (-model +live):\n"+cmp.Diff(strings.Split(m, "\n"), strings.Split(l, "\n")))
		}
	}
	return out
}

func (c *comparison) report() {
	c.Helper()
	for i, d := range slices.Sorted(maps.Keys(c.found)) {
		if i == 20 {
			c.Errorf("and %d more differences", len(c.found)-i)
			return
		}
		c.Errorf("%s and %d others: %s", c.found[d][0], len(c.found[d])-1, d)
	}
}

// tolerance is a resource that may differ, and why.
type tolerance struct {
	resource string
	reason   string
}

// tolerances are the differences that are not the model's to know.
var tolerances = []tolerance{}

func tolerated(name, _, _ string) bool {
	return slices.ContainsFunc(tolerances, func(t tolerance) bool { return t.resource == name })
}

// base is in the namespace of each scenario: a caller and two versions of a
// server, on a node whose pods do not run.
func base() string {
	out := ""
	for _, w := range []string{"caller v1", "server v1", "server v2"} {
		app, version, _ := strings.Cut(w, " ")
		out += strings.Replace(workload(app, version, "true"), "      containers:", `      nodeSelector: {type: kwok}
      tolerations: [{operator: Exists}]
      containers:`, 1)
	}
	return out + service("caller") + service("server")
}

// scenarios applies the scenarios, each in a namespace of its own, and returns
// their names by namespace once their pods have addresses.
func (m *team) scenarios() map[string]string {
	m.Helper()
	files, err := filepath.Glob("testdata/model/*.yaml")
	if err != nil {
		m.Fatal(err)
	}
	names := map[string]string{}
	var namespaces, objects strings.Builder
	suffix := strings.ToLower(rand.Text()[:4])
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		ns := "model-" + name + "-" + suffix
		names[ns] = name
		fmt.Fprintf(&namespaces, "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: %s, labels: {istio-injection: enabled}}\n", ns)
		scenario, err := os.ReadFile(file)
		if err != nil {
			m.Fatal(err)
		}
		objects.WriteString(within(m.T, ns, base()+"\n---\n"+string(scenario)))
	}
	m.Cleanup(func() {
		args := append([]string{"--kubeconfig", m.lab.Kubeconfig, "delete", "namespace", "--wait=false"}, slices.Sorted(maps.Keys(names))...)
		m.outlive(args...)
	})
	m.applyTo("", namespaces.String())
	m.applyTo("", objects.String())
	fmt.Println("kubectl done", time.Now())
	m.kubectl("wait", "gateways.gateway.networking.k8s.io", "-A", "--all", "--for=condition=Programmed", "--timeout=2m")
	labtest.Eventually(m.T, "the pods of the scenarios", m.addressed(names))
	return names
}

// within puts objects that have no namespace into one, and its name for NAMESPACE.
func within(t *testing.T, ns, text string) string {
	t.Helper()
	var out strings.Builder
	for _, doc := range strings.Split(strings.ReplaceAll(text, "NAMESPACE", ns), "\n---\n") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(doc), &object); err != nil {
			t.Fatalf("%s: %v\n%s", ns, err, doc)
		}
		if object == nil {
			continue
		}
		u := unstructured.Unstructured{Object: object}
		if u.GetNamespace() == "" {
			u.SetNamespace(ns)
		}
		b, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("---\n" + string(b) + "\n")
	}
	return out.String()
}

// meshObjects are those of the cluster that a model is made of.
func (m *team) meshObjects() []mizzen.Object {
	m.Helper()
	var out []mizzen.Object
	for _, args := range [][]string{
		{"-n", "istio-system", "configmaps", "--field-selector=metadata.name=istio"},
		{"-A", strings.Join([]string{
			"namespaces", "services", "deployments", "ingresses", "ingressclasses",
			"virtualservices.networking.istio.io", "destinationrules.networking.istio.io", "gateways.networking.istio.io",
			"serviceentries.networking.istio.io", "sidecars.networking.istio.io", "workloadentries.networking.istio.io",
			"workloadgroups.networking.istio.io", "envoyfilters.networking.istio.io", "proxyconfigs.networking.istio.io",
			"peerauthentications", "requestauthentications", "authorizationpolicies", "telemetries", "wasmplugins", "trafficextensions",
			"gatewayclasses", "gateways.gateway.networking.k8s.io", "httproutes", "grpcroutes", "tcproutes", "tlsroutes", "referencegrants",
			"backendtlspolicies", "listenersets",
		}, ",")},
	} {
		text := m.kubectl(append([]string{"get", "-o", "json"}, args...)...)
		var list unstructured.UnstructuredList
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			m.Fatal(err)
		}
		for i := range list.Items {
			out = append(out, mizzen.Object{Unstructured: &list.Items[i]})
		}
	}
	return out
}
