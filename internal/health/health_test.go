package health

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

func newJudge(t testing.TB, rules ...Rule) *Judge {
	t.Helper()
	j, err := New(Options{Rules: rules})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// object reads YAML as an API client would, with whole numbers as int64.
func object(t testing.TB, document string) *unstructured.Unstructured {
	t.Helper()
	b, err := yaml.YAMLToJSON([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(b); err != nil {
		t.Fatal(err)
	}
	return u
}

func testdata(t testing.TB, name string) *unstructured.Unstructured {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return object(t, string(b))
}

type indexed struct{ file, status, message string }

func index(t testing.TB) []indexed {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "index.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []indexed
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			file, rest, _ := strings.Cut(line, " ")
			status, message, _ := strings.Cut(rest, " ")
			cases = append(cases, indexed{file, status, message})
		}
	}
	return cases
}

// The table of testdata/index.txt: kinds of the demo and of operators that
// users meet, up, on their way and broken.
func TestJudge(t *testing.T) {
	j := newJudge(t)
	seen := map[string]bool{"index.txt": true}
	for _, c := range index(t) {
		seen[c.file] = true
		t.Run(strings.TrimSuffix(c.file, ".yaml"), func(t *testing.T) {
			obj := testdata(t, c.file)
			before := obj.DeepCopy()
			got := j.Judge(context.Background(), obj)
			if string(got.Status) != c.status || !strings.Contains(got.Message, c.message) {
				t.Errorf("judged %s %q, want %s %q", got.Status, got.Message, c.status, c.message)
			}
			if again := newJudge(t).Judge(context.Background(), before); again != got {
				t.Errorf("judged %v the second time, %v the first", again, got)
			}
		})
	}
	files, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !f.IsDir() && !seen[f.Name()] {
			t.Errorf("%s is not in index.txt", f.Name())
		}
	}
}

// What is embedded is compiled when it is first needed: here is where a
// mistake in it shows.
func TestBuiltInRulesAndScriptsCompile(t *testing.T) {
	j := newJudge(t)
	for _, set := range j.own {
		if _, err := set.cases(); err != nil {
			t.Errorf("%v: %v", set.kinds, err)
		}
	}
	n := 0
	for kind, compiled := range argoCorpus().exact {
		n++
		if _, err := compiled(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	for _, p := range argoCorpus().patterns {
		n++
		if _, err := p.script(); err != nil {
			t.Errorf("%s: %v", p.pattern, err)
		}
	}
	if n < 200 {
		t.Errorf("the corpus has %d scripts; it used to have 238", n)
	}
}

// Every script of the corpus must bear an object that has no status yet, and
// one whose status is empty.
func TestScriptsBearNewObjects(t *testing.T) {
	j := newJudge(t)
	for kind := range argoCorpus().exact {
		group, name, _ := strings.Cut(kind, "/")
		for _, status := range []string{"", "status: {}\n"} {
			obj := object(t, "apiVersion: "+group+"/v1\nkind: "+name+"\nmetadata: {name: a, namespace: b, generation: 1}\nspec: {}\n"+status)
			got := j.Judge(context.Background(), obj)
			if !got.Status.Valid() || got.Status == Unknown && status == "" && strings.Contains(got.Message, "failed") {
				t.Errorf("%s with status %q: %v", kind, status, got)
			}
		}
	}
}

func TestNeedsObjectAndHasRule(t *testing.T) {
	j := newJudge(t, Rule{Kinds: []string{"Secret"}, Cases: []Case{{Status: Healthy}}})
	cases := []struct {
		kind        string
		needs, rule bool
	}{
		{"ConfigMap", false, false},
		{"Secret", true, true}, // a rule of the user's needs the object
		{"ServiceAccount", false, false},
		{"rbac.authorization.k8s.io/Role", false, false},
		{"admissionregistration.k8s.io/MutatingWebhookConfiguration", false, false},
		{"apps/Deployment", true, true},
		{"apps/ReplicaSet", true, true},
		{"cert-manager.io/Certificate", true, true},
		{"networking.istio.io/VirtualService", true, true},
		{"rds.aws.upbound.io/Instance", true, true},
		{"example.com/Widget", true, false},
	}
	for _, c := range cases {
		gk := parseKind(c.kind)
		if got := j.NeedsObject(gk); got != c.needs {
			t.Errorf("NeedsObject(%s) = %v", c.kind, got)
		}
		if got := j.HasRule(gk); got != c.rule {
			t.Errorf("HasRule(%s) = %v", c.kind, got)
		}
	}
}

func parseKind(s string) schema.GroupKind {
	group, kind, found := strings.Cut(s, "/")
	if !found {
		return schema.GroupKind{Kind: s}
	}
	return schema.GroupKind{Group: group, Kind: kind}
}

// An exact directory wins over a wildcard, and the first wildcard by name over
// later ones.
func TestCorpusMatching(t *testing.T) {
	c := argoCorpus()
	wild, exact := c.find(parseKind("s3.aws.crossplane.io/BucketPolicy")), c.find(parseKind("s3.aws.crossplane.io/Bucket"))
	if wild == nil || exact == nil {
		t.Fatal("a script is missing")
	}
	a, err := wild()
	if err != nil {
		t.Fatal(err)
	}
	b, err := exact()
	if err != nil {
		t.Fatal(err)
	}
	if a == b {
		t.Error("Bucket is judged by the wildcard's script")
	}
	for _, kind := range []string{"crossplane.io/X", "example.com/Widget", "Pod"} {
		if c.find(parseKind(kind)) != nil {
			t.Errorf("%s has a script", kind)
		}
	}
}

func TestMissing(t *testing.T) {
	j := newJudge(t)
	for _, obj := range []*unstructured.Unstructured{nil, {}} {
		if got := j.Judge(context.Background(), obj); got.Status != Missing {
			t.Errorf("judged %v, want Missing", got)
		}
	}
}

func TestTidy(t *testing.T) {
	long := tidy(strings.Repeat("ä", 3000))
	if len(long) > maxMessage || !strings.HasSuffix(long, "ä…") {
		t.Errorf("long message has %d bytes and ends in %q", len(long), long[len(long)-6:])
	}
	if got, want := tidy("a\n\tb\x1b[31m \xff\u2028c "), "a b [31m � c"; got != want {
		t.Errorf("tidy gave %q, want %q", got, want)
	}
}

func FuzzJudge(f *testing.F) {
	for _, c := range index(f) {
		b, err := os.ReadFile(filepath.Join("testdata", c.file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	j := newJudge(f)
	f.Fuzz(func(t *testing.T, document []byte) {
		b, err := yaml.YAMLToJSON(document)
		if err != nil {
			return
		}
		u := &unstructured.Unstructured{}
		if u.UnmarshalJSON(b) != nil {
			return
		}
		got := j.Judge(context.Background(), u)
		if !got.Status.Valid() || len(got.Message) > maxMessage || strings.ContainsAny(got.Message, "\n\x1b") {
			t.Errorf("judged %v", got)
		}
	})
}
