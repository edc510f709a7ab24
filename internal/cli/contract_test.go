package cli

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen/internal/labtest"
	"mizzen.dev/mizzen/internal/report"
)

// question is a command and its answer: yes, no, or that it cannot be told.
type question struct {
	args string
	code int
}

// contract has a yes, a no and an unknown of every verb, as far as the verb
// can answer so. REPO is a clone of the stage's repository, DEAD the kubeconfig
// of a cluster that does not run.
var contract = map[string][]question{
	"up":         {{"up --kubeconfig DEAD --listen 127.0.0.1:0 --state-dir STATE", ExitUnknown}},
	"controller": {{"controller --kubeconfig DEAD --install-crds --listen 127.0.0.1:0 --state-dir STATE", ExitUnknown}},
	"plan": {
		{"plan good", ExitYes},
		{"plan manual", ExitNo},
		{"plan manual --fail-on error", ExitYes},
		{"plan nobody", ExitUnknown},
		{"plan bad", ExitUnknown},
		{"plan --all", ExitUnknown},
		{"plan", ExitUnknown},
		{"plan good --fail-on sometimes", ExitUnknown},
		{"plan --base HEAD --local REPO", ExitYes},
		{"plan --base HEAD~9 --local REPO", ExitUnknown},
	},
	"sync":   {{"sync good --yes", ExitYes}, {"sync manual", ExitUnknown}, {"sync nobody --yes", ExitUnknown}, {"sync bad --yes", ExitUnknown}},
	"render": {{"render REPO/good", ExitYes}, {"render REPO/nowhere", ExitUnknown}, {"render REPO/bad", ExitUnknown}},
	"lint":   {{"lint REPO/good", ExitYes}, {"lint REPO/wrong", ExitNo}, {"lint REPO/bad", ExitNo}, {"lint REPO/nowhere", ExitUnknown}},
	"trace": {
		{"trace --from shop/web GET http://reviews/ REPO/shop", ExitYes},
		{"trace --from shop/web GET http://reviews/closed REPO/shop", ExitNo},
		{"trace --from shop/web GET http://nowhere/ REPO/shop", ExitUnknown},
		{"trace http://reviews/ REPO/nowhere", ExitUnknown},
		{"trace reviews", ExitUnknown},
	},
	"status":     {{"status good", ExitYes}, {"status bad", ExitNo}, {"status nobody", ExitUnknown}},
	"get":        {{"get applications", ExitYes}, {"get repo demo", ExitYes}, {"get clusters", ExitYes}, {"get app nobody", ExitUnknown}, {"get pods", ExitUnknown}},
	"tree":       {{"tree good", ExitYes}, {"tree drift", ExitNo}, {"tree nobody", ExitUnknown}},
	"history":    {{"history good", ExitYes}, {"history nobody", ExitUnknown}},
	"events":     {{"events good", ExitYes}, {"events nobody", ExitUnknown}},
	"approve":    {{"approve good --yes", ExitUnknown}, {"approve nobody --yes", ExitUnknown}, {"approve", ExitUnknown}},
	"rollback":   {{"rollback good --yes", ExitUnknown}, {"rollback nobody --yes", ExitUnknown}},
	"suspend":    {{"suspend manual", ExitYes}, {"suspend nobody", ExitUnknown}},
	"resume":     {{"resume manual", ExitYes}, {"resume nobody", ExitUnknown}},
	"doctor":     {{"doctor", ExitYes}, {"doctor --kubeconfig DEAD", ExitNo}},
	"completion": {{"completion bash", ExitYes}, {"completion cmd", ExitUnknown}},
	"version":    {{"version", ExitYes}, {"version 1", ExitUnknown}},
}

// offline verbs need no cluster, and doctor's answer is that there is none.
var offline = []string{"render", "lint", "trace", "completion", "version", "doctor"}

func verbs() []*cobra.Command {
	var all []*cobra.Command
	for _, c := range (&app{}).root().Commands() {
		if c.Name() != "help" {
			all = append(all, c)
		}
	}
	return all
}

// formats are what -o of a verb takes, as its help says.
func formats(c *cobra.Command) []string {
	flag := c.Flags().Lookup("output")
	if flag == nil {
		return nil
	}
	_, list, _ := strings.Cut(flag.Usage, ": ")
	return strings.Split(list, ", ")
}

func TestContract(t *testing.T) {
	s := newStage(t)
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: s.lab.Namespace, Name: "drift"}}
	if err := s.client.Delete(t.Context(), cm); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("REPO", s.repo.Dir, "DEAD", dead(t), "STATE", t.TempDir())
	for _, verb := range verbs() {
		if len(contract[verb.Name()]) == 0 {
			t.Errorf("the contract says nothing about %s", verb.Name())
		}
		for _, q := range contract[verb.Name()] {
			t.Run(q.args, func(t *testing.T) { s.ask(t, verb, q, strings.Fields(fill.Replace(q.args))) })
		}
	}
}

// ask asks a question in every format.
func (s *stage) ask(t *testing.T, verb *cobra.Command, q question, args []string) {
	plain := run(t, args...)
	if plain.code != q.code {
		t.Errorf("exit code %d, want %d\n%s%s", plain.code, q.code, plain.out, plain.err)
	}
	if plain.code == ExitUnknown && plain.err == "" {
		t.Error("it does not say why it cannot tell")
	}
	for _, format := range formats(verb) {
		got := run(t, append(slices.Clone(args), "-o", format)...)
		if got.code != q.code {
			t.Errorf("-o %s: exit code %d, want %d: %s", format, got.code, q.code, got.err)
		}
		if strings.Contains(got.out+got.err, "\x1b") {
			t.Errorf("-o %s: an escape sequence, although there is no terminal", format)
		}
		if got.out != "" {
			parse(t, format, got.out)
		}
		if got.out != "" && format == "json" {
			readReference(t).check(t, verb.Name(), got.out)
		}
	}
}

func parse(t *testing.T, format, out string) {
	t.Helper()
	var doc map[string]any
	switch format {
	case "json", "sarif":
		if err := json.Unmarshal([]byte(out), &doc); err != nil {
			t.Errorf("-o %s: %v\n%s", format, err, out)
		}
	case "yaml":
		for part := range strings.SplitSeq(out, "---\n") {
			if err := yaml.Unmarshal([]byte(part), &doc); err != nil {
				t.Errorf("-o yaml: %v\n%s", err, out)
			}
		}
	}
	if _, ok := doc["schema"].(string); format == "json" && !ok {
		t.Errorf("-o json names no schema:\n%s", out)
	}
}

func TestWrongFlags(t *testing.T) {
	for _, verb := range verbs() {
		got := run(t, verb.Name(), "--no-such-flag")
		if got.code != ExitUnknown || !strings.Contains(got.err, "'mizzen "+verb.Name()+" --help'") {
			t.Errorf("%s: %d %s", verb.Name(), got.code, got.err)
		}
		if formats(verb) != nil {
			if got := run(t, verb.Name(), "x", "-o", "no-such-format"); got.code != ExitUnknown || got.err == "" {
				t.Errorf("%s -o: %d %s", verb.Name(), got.code, got.err)
			}
		}
	}
	if got := run(t, "up", "--render-timeout", "0s"); got.code != ExitUnknown || !strings.Contains(got.err, "--render-timeout 0s") {
		t.Errorf("%d %s", got.code, got.err)
	}
	if got := run(t, "statsu", "web"); got.code != ExitUnknown || !strings.Contains(got.err, "did you mean 'mizzen status'") {
		t.Errorf("%d %s", got.code, got.err)
	}
	if got := run(t, "status"); got.code != ExitUnknown || !strings.Contains(got.err, "mizzen status APPLICATION") {
		t.Errorf("%d %s", got.code, got.err)
	}
}

func TestUnreachableCluster(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	kubeconfig := dead(t)
	for _, verb := range verbs() {
		name := verb.Name()
		if slices.Contains(offline, name) || name == "up" || name == "controller" {
			continue
		}
		arg := "web"
		if name == "get" {
			arg = "apps"
		}
		got := run(t, name, arg, "--kubeconfig", kubeconfig)
		if got.code != ExitUnknown || !strings.Contains(got.err, "https://127.0.0.1:1 does not answer") || !strings.Contains(got.err, "mizzen doctor") {
			t.Errorf("%s: %d %s", name, got.code, got.err)
		}
	}
	if got := run(t, "get", "apps", "--kubeconfig", "/no/such/file"); got.code != ExitUnknown || !strings.Contains(got.err, "--kubeconfig") {
		t.Errorf("%d %s", got.code, got.err)
	}
}

func TestInterruptAndTimeout(t *testing.T) {
	newStage(t)
	for _, args := range [][]string{{"status", "good", "-w"}, {"get", "apps", "-w"}, {"events", "good", "-w"}, {"status", "bad", "--wait"}} {
		if got := run(t, append(args, "--timeout", "500ms")...); got.code != ExitTimeout {
			t.Errorf("%v: %d %s%s", args, got.code, got.out, got.err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), 500*time.Millisecond, context.Canceled)
		stopped, stop := context.WithCancel(context.WithoutCancel(ctx))
		context.AfterFunc(ctx, stop)
		if got := runIn(stopped, Streams{}, args...); got.code != ExitInterrupted {
			t.Errorf("%v: %d %s", args, got.code, got.err)
		}
		cancel()
	}
	got := run(t, "status", "good", "-w", "-o", "json", "--timeout", "500ms")
	for line := range strings.Lines(got.out) {
		parse(t, "json", line)
	}
}

// TestConfirm: a person is asked, and may say no.
func TestConfirm(t *testing.T) {
	newStage(t)
	no := runIn(t.Context(), Streams{Terminal: true, In: strings.NewReader("n\n")}, "sync", "manual")
	if no.code != ExitNo || !strings.Contains(no.err, "nothing was done") {
		t.Errorf("%d %s", no.code, no.err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	context.AfterFunc(t.Context(), cancel)
	timer := time.AfterFunc(2*time.Second, cancel)
	defer timer.Stop()
	if got := runIn(ctx, Streams{Terminal: true, In: neverRead{}}, "sync", "manual"); got.code != ExitInterrupted {
		t.Errorf("%d %s", got.code, got.err)
	}
	yes := runIn(t.Context(), Streams{Terminal: true, In: strings.NewReader("y\n")}, "sync", "manual")
	if yes.code != ExitYes || !strings.Contains(yes.out, "synced to") {
		t.Errorf("%d %s %s", yes.code, yes.out, yes.err)
	}
	labtest.Eventually(t, "manual is synced", func(context.Context) bool { return run(t, "status", "manual").code == ExitYes })
}

// neverRead is a person who does not answer.
type neverRead struct{}

func (neverRead) Read([]byte) (int, error) { select {} }

func TestColor(t *testing.T) {
	env := func(pairs ...string) func(string) string {
		return func(key string) string {
			if i := slices.Index(pairs, key); i >= 0 {
				return pairs[i+1]
			}
			return ""
		}
	}
	if !Color(true, env("TERM", "xterm")) || Color(false, env()) || Color(true, env("NO_COLOR", "1")) || Color(true, env("TERM", "dumb")) {
		t.Error("color is decided wrongly")
	}
}

// TestOutputIsDocumented: every schema that a verb writes is in the reference.
func TestOutputIsDocumented(t *testing.T) {
	reference, err := os.ReadFile("../../docs/reference/output.md")
	if err != nil {
		t.Fatal(err)
	}
	nouns := []string{"plan", "plans", "review", "render", "findings", "trace", "status", "tree", "history", "events", "event", "doctor", "version"}
	for _, k := range listedKinds {
		nouns = append(nouns, k.name, k.names[0])
	}
	for _, noun := range nouns {
		if !strings.Contains(string(reference), "`"+report.Schema(noun)+"`") {
			t.Errorf("docs/reference/output.md does not name %s", report.Schema(noun))
		}
	}
}
