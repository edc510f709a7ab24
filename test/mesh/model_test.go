package mesh

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/labtest"
)

// settling is how long istiod may take to send what was applied; the whole
// comparison shares it.
const settling = 5 * time.Minute

// TestModel holds what Mizzen compiles offline to what the proxies of the shop
// have, and to what the live istiod sends to proxies in the namespaces of the
// scenarios in testdata/model and of Istio's bookinfo. Their pods are on a
// simulated node: nothing runs in them, and istiod does not know. It is alone,
// since nothing else may change the mesh while it is compared, and comes after
// the tests of load, which do not get on with dozens of namespaces.
func TestModel(t *testing.T) {
	lab := labtest.Start(t, labtest.ControlPlane|labtest.Git|labtest.Mesh)
	m := &team{T: t, lab: lab, core: kubernetes.NewForConfigOrDie(lab.Config), ns: lab.Namespace}
	texts, books := scenarioFiles(t, "testdata/model", base()), bookinfo(t)
	if len(texts) < 30 {
		t.Errorf("testdata/model has %d scenarios, want 30 at least", len(texts))
	}
	want := 8 + 2*len(texts) + len(books)
	maps.Copy(texts, books)
	if n := m.equal(m.scenarios("model", texts)); n < want {
		t.Errorf("%d workloads were compared, of the shop and %d scenarios, want %d", n, len(texts), want)
	}
}

// equal compares the proxies of the shop, and those of the namespaces of
// scenarios, with what the objects of the mesh compile to. It returns of how
// many workloads.
func (m *team) equal(scenarios map[string]string) int {
	m.Helper()
	m.pushAll()
	pods, addresses, err := m.pods(m.Context())
	if err != nil {
		m.Fatal(err)
	}
	compared := map[string]bool{}
	for i := range pods {
		if pod := &pods[i]; runsEnvoy(pod) || simulates(scenarios, pod) {
			compared[workloadOf(pod)] = true
		}
	}
	c := &comparison{team: m, model: compileOffline(m.T, m.meshObjects(), compared), seen: map[string]bool{}, found: map[string][]string{}}
	settled, cancel := context.WithTimeout(m.Context(), settling)
	defer cancel()
	examples := map[string]*corev3.Node{}
	for i := range pods {
		if pod := &pods[i]; runsEnvoy(pod) {
			c.compare(settled, pod, func() (resources, error) {
				d, addresses, err := m.running(settled, workloadOf(pod))
				if err != nil {
					return nil, err
				}
				if kind := proxyKind(pod); examples[kind] == nil {
					examples[kind] = d.node
				}
				return d.resources(m.T, addresses), nil
			})
		}
	}
	istiod := m.plaintext()
	for i := range pods {
		if pod := &pods[i]; simulates(scenarios, pod) {
			node := stranger(m.T, examples[proxyKind(pod)], pod)
			c.compare(settled, pod, func() (resources, error) { return sent(m.Context(), istiod, node, addresses) })
		}
	}
	c.report()
	return len(c.seen)
}

// simulates tells whether a pod of a scenario has a proxy that does not run, and
// that is worth a comparison. The second version of a server is as the first; and
// no file that routes in bookinfo changes more than what its callers have, which
// are alike.
func simulates(scenarios map[string]string, pod *corev1.Pod) bool {
	scenario := scenarios[pod.Namespace]
	if scenario == "" || runsEnvoy(pod) || !hasProxy(pod) {
		return false
	}
	if strings.HasPrefix(scenario, "bookinfo-") && scenario != "bookinfo-bookinfo-gateway" && proxyKind(pod) == "sidecar" {
		return pod.Labels["app"] == "productpage"
	}
	return pod.Labels["version"] != "v2"
}

// pods returns those of the cluster, and their workloads by their addresses.
func (m *team) pods(ctx context.Context) ([]corev1.Pod, form, error) {
	list, err := m.core.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, err
	}
	addresses := form{}
	for i := range list.Items {
		addresses[list.Items[i].Status.PodIP] = workloadOf(&list.Items[i])
	}
	return list.Items, addresses, nil
}

// running asks a pod of a workload what its Envoy has. It looks for the pod each
// time, since istiod may roll out a gateway of its own at any moment.
func (m *team) running(ctx context.Context, workload string) (*dump, form, error) {
	pods, addresses, err := m.pods(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i := range pods {
		if pod := &pods[i]; runsEnvoy(pod) && workloadOf(pod) == workload {
			d, err := m.configDump(pod)
			return d, addresses, err
		}
	}
	return nil, nil, errors.New("no pod of it runs")
}

// pushAll has istiod send everything to every proxy, as a setting of the whole
// mesh does. Without it, it leaves a proxy that runs with what it got for a
// headless Service before the Service had pods.
func (m *team) pushAll() {
	m.Helper()
	m.applyIn("istio-system", `
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: push-all}
spec: {workloadSelector: {labels: {nobody: has-this}}}
`)
	m.Cleanup(func() {
		m.outlive("--kubeconfig", m.lab.Kubeconfig, "delete", "-n", "istio-system", "envoyfilter", "push-all")
	})
}

// runsEnvoy tells whether a pod runs, to stay, with a proxy.
func runsEnvoy(pod *corev1.Pod) bool {
	return pod.Spec.NodeName == "lab-1" && pod.DeletionTimestamp == nil && pod.Status.Phase == corev1.PodRunning && hasProxy(pod)
}

func hasProxy(pod *corev1.Pod) bool {
	return slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), func(c corev1.Container) bool { return c.Name == "istio-proxy" })
}

// comparison collects what differs, each difference once.
type comparison struct {
	*team
	model compiled
	seen  map[string]bool
	// found has the proxies by the text of the difference.
	found map[string][]string
}

// compare compares one proxy of a workload with the model, until they are
// equal or ctx is done. What still differs then is found; so is a proxy that
// does not answer.
func (c *comparison) compare(ctx context.Context, pod *corev1.Pod, live func() (resources, error)) {
	c.Helper()
	name := workloadOf(pod)
	if c.seen[name] {
		return
	}
	c.seen[name] = true
	want := c.model.of(name)
	if len(want) == 0 {
		c.Errorf("the model has no proxy of %s", name)
		return
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		var differences []string
		if got, err := live(); err != nil {
			differences = []string{err.Error()}
		} else if differences = differ(want, got, runsEnvoy(pod)); len(differences) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			for _, d := range differences {
				c.found[d] = append(c.found[d], name)
			}
			return
		case <-tick.C:
		}
	}
}

// differ returns what differs, as a text for each resource. What an Envoy has
// that runs may be older than what istiod would send.
func differ(model, live resources, runs bool) (out []string) {
	names := slices.Collect(maps.Keys(live))
	for name := range model {
		// What is behind clusters is asked of istiod only.
		if _, ok := live[name]; !ok && !strings.HasPrefix(name, "endpoints ") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		m, l := model[name], live[name]
		if m == l || tolerated(name) || runs && stale(m, l) {
			continue
		}
		out = append(out, name+" (-model +live):\n"+cmp.Diff(strings.Split(m, "\n"), strings.Split(l, "\n")))
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
	resource *regexp.Regexp
	reason   string
}

// tolerances are the differences that are known.
var tolerances = []tolerance{
	{
		regexp.MustCompile(`^endpoints outbound\|443\|\|kubernetes\.default\.svc`),
		"the API server's own Endpoints have no selector and no pods",
	},
}

// staleAccounts are the names that callers expect in certificates: an Envoy that
// runs hears of a Service's new accounts only with the next change of it.
var staleAccounts = regexp.MustCompile(` *match_subject_alt_names:\n( *- exact: .*\n)*|default_validation_context: \{\}\n|default_validation_context:\n`)

func stale(model, live string) bool {
	return staleAccounts.ReplaceAllString(model, "") == staleAccounts.ReplaceAllString(live, "")
}

func tolerated(name string) bool {
	return slices.ContainsFunc(tolerances, func(t tolerance) bool { return t.resource.MatchString(name) })
}

// base is in the namespace of each scenario: a caller and two versions of a
// server, on a node whose pods do not run.
func base() string {
	out := ""
	for _, w := range []string{"caller v1", "server v1", "server v2"} {
		app, version, _ := strings.Cut(w, " ")
		out += simulated(workload(app, version, "true"))
	}
	return out + service("caller") + service("server")
}

// simulated puts the pods of Deployments on a node that does not run them.
func simulated(deployments string) string {
	return strings.ReplaceAll(deployments, "      containers:", `      nodeSelector: {type: kwok}
      tolerations: [{operator: Exists}]
      containers:`)
}

// scenarioFiles are the objects of each scenario in a directory, beside those of
// base, by its name.
func scenarioFiles(t *testing.T, dir, base string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, file := range files {
		texts[strings.TrimSuffix(filepath.Base(file), ".yaml")] = base + "\n---\n" + readFile(t, file)
	}
	return texts
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// scenarios applies the objects of each scenario, by its name, in a namespace of
// its own, and returns the names by namespace once all pods have addresses.
func (m *team) scenarios(prefix string, texts map[string]string) map[string]string {
	m.Helper()
	names := map[string]string{}
	var namespaces, objects []*unstructured.Unstructured
	suffix := strings.ToLower(rand.Text()[:4])
	for name, text := range texts {
		ns := prefix + "-" + name + "-" + suffix
		names[ns] = name
		namespaces = append(namespaces, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": ns, "labels": map[string]any{"istio-injection": "enabled"}},
		}})
		objects = append(objects, within(m.T, ns, text)...)
	}
	m.Cleanup(func() {
		args := append([]string{"--kubeconfig", m.lab.Kubeconfig, "delete", "namespace", "--wait=false"}, slices.Sorted(maps.Keys(names))...)
		m.outlive(args...)
	})
	m.applyTogether(namespaces)
	m.applyTogether(objects)
	m.kubectl("wait", "gateways.gateway.networking.k8s.io", "-A", "--all", "--for=condition=Programmed", "--timeout=2m")
	labtest.Eventually(m.T, "the pods of the scenarios", m.rolledOut(names))
	return names
}

// within returns objects, put into a namespace, with its name for NAMESPACE.
func within(t *testing.T, ns, text string) (out []*unstructured.Unstructured) {
	t.Helper()
	for _, doc := range strings.Split(strings.ReplaceAll(text, "NAMESPACE", ns), "\n---\n") {
		var object map[string]any
		if err := yaml.Unmarshal([]byte(doc), &object); err != nil {
			t.Fatalf("%s: %v\n%s", ns, err, doc)
		}
		if object == nil {
			continue
		}
		u := &unstructured.Unstructured{Object: object}
		u.SetNamespace(ns)
		out = append(out, u)
	}
	return out
}

// applyTogether applies objects several at a time, for there are hundreds.
func (m *team) applyTogether(objects []*unstructured.Unstructured) {
	m.Helper()
	client := dynamic.NewForConfigOrDie(m.lab.Config)
	var group errgroup.Group
	group.SetLimit(8)
	for _, o := range objects {
		group.Go(func() error {
			resource, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
			if o.GetKind() == "Gateway" {
				resource.Resource = "gateways" // the guess knows no such plural
			}
			_, err := client.Resource(resource).Namespace(o.GetNamespace()).Apply(m.Context(), o.GetName(), o, metav1.ApplyOptions{FieldManager: "test"})
			if err != nil {
				return fmt.Errorf("%s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		m.Fatal(err)
	}
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
