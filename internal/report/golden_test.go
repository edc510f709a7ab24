package report

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const (
	oldCommit = "0123456789abcdef0123456789abcdef01234567"
	newCommit = "fedcba9876543210fedcba9876543210fedcba98"
)

// hostile is what a repository or a cluster may put into any text: it must
// never reach a terminal as it is.
const hostile = "evil\x1b[2J\u009b31m\u202e\rtext"

func goldens() map[string]func(*bytes.Buffer) error {
	all := map[string]func(*bytes.Buffer) error{
		"plan.txt":            func(b *bytes.Buffer) error { return PlanText(b, samplePlan(), Style{}) },
		"plan.md":             func(b *bytes.Buffer) error { return PlanMarkdown(b, samplePlan()) },
		"plan.json":           func(b *bytes.Buffer) error { return JSON(b, "plan", samplePlan()) },
		"plan-traffic.txt":    func(b *bytes.Buffer) error { return PlanText(b, sampleTrafficPlan(), Style{}) },
		"plan-traffic.md":     func(b *bytes.Buffer) error { return PlanMarkdown(b, sampleTrafficPlan()) },
		"plan-traffic.json":   func(b *bytes.Buffer) error { return JSON(b, "plan", sampleTrafficPlan()) },
		"plan-traffic.github": func(b *bytes.Buffer) error { return GitHub(b, PlanFindings(sampleTrafficPlan())) },
		"plan-traffic.sarif":  func(b *bytes.Buffer) error { return SARIF(b, PlanFindings(sampleTrafficPlan()), "v1.2.3") },
		"plan-calm.txt":       func(b *bytes.Buffer) error { return PlanText(b, sampleCalmPlan(), Style{}) },
		"review.txt":          func(b *bytes.Buffer) error { return ReviewText(b, sampleReview(), Style{}) },
		"review.md":           func(b *bytes.Buffer) error { return ReviewMarkdown(b, sampleReview()) },
		"review.json":         func(b *bytes.Buffer) error { return JSON(b, "review", sampleReview()) },
		"review.sarif":        func(b *bytes.Buffer) error { return ReviewSARIF(b, sampleReview(), "v1.2.3") },
		"review.github":       func(b *bytes.Buffer) error { return GitHub(b, ReviewFindings(sampleReview())) },
		"trace.txt":           func(b *bytes.Buffer) error { return TraceText(b, sampleTrace(), Style{}) },
		"trace.md":            func(b *bytes.Buffer) error { return TraceMarkdown(b, sampleTrace()) },
		"trace.json":          func(b *bytes.Buffer) error { return JSON(b, "trace", sampleTrace()) },
		"findings.txt":        func(b *bytes.Buffer) error { return FindingsText(b, sampleFindings(), Style{}) },
		"findings.ansi":       func(b *bytes.Buffer) error { return FindingsText(b, sampleFindings(), Style{Color: true}) },
		"findings.sarif": func(b *bytes.Buffer) error {
			return SARIF(b, sampleFindings(), "v1.2.3")
		},
		"findings.github": func(b *bytes.Buffer) error { return GitHub(b, sampleFindings()) },
		"get.txt":         func(b *bytes.Buffer) error { return resources(b, Style{}) },
		"get.json":        func(b *bytes.Buffer) error { return JSON(b, "applications", Resources{sampleResources()}) },
		"repositories.txt": func(b *bytes.Buffer) error {
			return ResourcesText(b, sampleRepositories(), ResourceTable{Kind: "repository", Namespaces: true}, now, Style{})
		},
		"tree.txt":     func(b *bytes.Buffer) error { return TreeText(b, sampleTree(), false, Style{}) },
		"tree-all.txt": func(b *bytes.Buffer) error { return TreeText(b, sampleTree(), true, Style{}) },
		"tree.json":    func(b *bytes.Buffer) error { return JSON(b, "tree", sampleTree()) },
		"events.txt":   func(b *bytes.Buffer) error { return EventsText(b, sampleEvents(), now, Style{}) },
		"events.json":  func(b *bytes.Buffer) error { return JSON(b, "events", Events{sampleEvents()}) },
		"verdict.txt":  func(b *bytes.Buffer) error { return VerdictText(b, sampleVerdict(), Style{}) },
		"verdict.md":   func(b *bytes.Buffer) error { return VerdictMarkdown(b, sampleVerdict()) },
		"verdict.json": func(b *bytes.Buffer) error { return JSON(b, "verdict", sampleVerdict()) },
		"doctor.txt":   func(b *bytes.Buffer) error { return ChecksText(b, sampleChecks(), Style{}) },
		"doctor.json":  func(b *bytes.Buffer) error { return JSON(b, "doctor", sampleChecks()) },
		"history.txt":  func(b *bytes.Buffer) error { return HistoryText(b, sampleHistory(), now, Style{}) },
		"history.json": func(b *bytes.Buffer) error { return JSON(b, "history", sampleHistory()) },
		"status.json":  func(b *bytes.Buffer) error { return JSON(b, "status", StatusOf(input(broken()))) },
	}
	for name, app := range sampleApplications() {
		all["status-"+name+".txt"] = func(b *bytes.Buffer) error {
			s := StatusOf(input(app))
			if err := StatusText(b, s, now, Style{}); err != nil {
				return err
			}
			return StatusLine(b, s, now, Style{})
		}
	}
	return all
}

func resources(b io.Writer, s Style) error {
	return ResourcesText(b, sampleResources(), ResourceTable{Kind: "application"}, now, s)
}

func input(app *v1alpha1.Application) StatusInput {
	return StatusInput{Application: app, Objects: 4, Now: now, Repository: &v1alpha1.Repository{
		ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: "demo"},
		Spec:       v1alpha1.RepositorySpec{URL: "https://git.example/demo.git", Revision: "main"},
		Status: v1alpha1.RepositoryStatus{Revision: newCommit, Conditions: []metav1.Condition{
			{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonFetched, Message: "fetched"},
		}},
	}}
}

// good is an Application that is synced and healthy.
func good() *v1alpha1.Application {
	app := &v1alpha1.Application{
		ObjectMeta: metav1.ObjectMeta{Namespace: "mizzen-system", Name: "web", Generation: 1},
		Spec: v1alpha1.ApplicationSpec{
			Source:      v1alpha1.ApplicationSource{Repository: "demo", Path: "services/web"},
			Destination: v1alpha1.Destination{Namespace: "shop"},
		},
		Status: v1alpha1.ApplicationStatus{
			ObservedGeneration: 1, Revision: newCommit, Attempted: newCommit,
			History: []v1alpha1.SyncRecord{{
				Revision: newCommit, Author: "Ada", Subject: "Raise replicas", Result: v1alpha1.SyncSucceeded, Message: "1 updated, 3 unchanged",
				Changes: []string{"update apps/Deployment shop/web: spec.replicas 2 -> 3"},
				Started: metav1.NewTime(now.Add(-3 * time.Minute)), Milliseconds: 240,
			}, {
				Revision: oldCommit, Author: "Bob " + hostile, Subject: "Begin", Result: v1alpha1.SyncFailed, Message: "line one\nline two " + hostile,
				Started: metav1.NewTime(now.Add(-50 * time.Hour)), Milliseconds: 61_000, Note: "rewritten 01234567..fedcba98",
			}},
		},
	}
	set(app, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "synced to fedcba98", metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "all objects are healthy")
	return app
}

func set(app *v1alpha1.Application, synced metav1.ConditionStatus, syncedReason, syncedMessage string, healthy metav1.ConditionStatus, healthyReason, healthyMessage string) {
	ready, reason, message := synced, syncedReason, syncedMessage
	if synced == metav1.ConditionTrue {
		ready, reason, message = healthy, healthyReason, healthyMessage
	}
	app.Status.Conditions = []metav1.Condition{
		{Type: v1alpha1.ConditionHealthy, Status: healthy, Reason: healthyReason, Message: healthyMessage},
		{Type: v1alpha1.ConditionReady, Status: ready, Reason: reason, Message: message},
		{Type: v1alpha1.ConditionSynced, Status: synced, Reason: syncedReason, Message: syncedMessage},
	}
}

// broken is an Application whose newest commit cannot be rendered.
func broken() *v1alpha1.Application {
	app := good()
	app.Status.Revision, app.Status.History = oldCommit, app.Status.History[1:]
	app.Status.History[0].Result = v1alpha1.SyncSucceeded
	app.Status.Findings = []string{"MZ2001 services/web/web.yaml:9: unknown field spec.replica " + hostile}
	set(app, metav1.ConditionFalse, v1alpha1.ReasonRenderFailed, "fedcba98: services/web (services/web/web.yaml:7): did not find expected key "+hostile+"; correct the YAML",
		metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "all objects are healthy")
	app.Status.Conditions = append(app.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue})
	return app
}

func sampleApplications() map[string]*v1alpha1.Application {
	held, suspended, away, fresh, degraded, manual, gated := good(), good(), good(), good(), good(), good(), good()
	held.Spec.Hold, held.Status.Revision = &v1alpha1.Hold{Revision: oldCommit, Reason: "too slow"}, oldCommit
	held.Status.Conditions[2].Reason, held.Status.Conditions[2].Message = v1alpha1.ReasonHeld, "held at 01234567: too slow; 'mizzen resume web' follows Git again"
	suspended.Spec.Suspend = true
	suspended.Status.Conditions[2].Reason, suspended.Status.Conditions[2].Message = v1alpha1.ReasonSuspended, "suspended (spec.suspend); 'mizzen resume web' goes on"
	set(away, metav1.ConditionUnknown, v1alpha1.ReasonClusterUnreachable, "cluster east: connection refused", metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "")
	fresh.Status = v1alpha1.ApplicationStatus{}
	set(degraded, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "synced", metav1.ConditionFalse, v1alpha1.ReasonDegraded, "apps/Deployment shop/web is Degraded: its image cannot be pulled")
	degraded.Status.Conditions = append(degraded.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionFighting, Status: metav1.ConditionTrue, Message: "kubectl-edit keeps changing apps/Deployment shop/web; take the field out of Git or stop it",
	})
	set(manual, metav1.ConditionFalse, v1alpha1.ReasonManualSync, "Git is at fedcba98: 1 updated; run 'mizzen sync web'", metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "")
	set(gated, metav1.ConditionFalse, v1alpha1.ReasonAwaitingApproval, "Git is at fedcba98: mtls-weakened; needs the approval of @acme/security; run 'mizzen approve web'",
		metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "")
	gated.Status.Review = &v1alpha1.ReviewStatus{
		Revision: strings.Repeat("fedcba98", 5), Base: oldCommit, Digest: "sha256:" + strings.Repeat("0", 64), Decision: "needsApproval",
		Changes: v1alpha1.SyncCounts{Updated: 1}, Effects: v1alpha1.EffectCounts{Danger: 1, Notice: 2},
		Reasons: []string{"approval mtls-weakened: a workload takes plaintext that it refused (shop/payments) " + hostile},
		Approvals: []v1alpha1.RequiredApproval{
			{Owners: []string{"@acme/payments"}, Count: 1, By: []string{"alice"}}, {Owners: []string{"@acme/security", "@bob"}, Count: 2}, {Count: 1},
		},
	}
	gated.Status.Revision = oldCommit
	reported := good()
	reported.Status.Review = gated.Status.Review.DeepCopy()
	reported.Status.Review.Gate, reported.Status.Review.Approvals = v1alpha1.GateReport, nil
	return map[string]*v1alpha1.Application{
		"reported": reported,
		"gated":    gated, "ready": good(), "broken": broken(), "held": held, "suspended": suspended, "unreachable": away,
		"new": fresh, "degraded": degraded, "manual": manual,
	}
}

func sampleResources() []Resource {
	var items []Resource
	for name, app := range sampleApplications() {
		app.Name = name
		items = append(items, ApplicationResource(app))
	}
	SortResources(items)
	return items
}

func sampleRepositories() []Resource {
	repo := input(good()).Repository
	bad := repo.DeepCopy()
	bad.Name, bad.Status.Conditions[0].Status = "other", metav1.ConditionFalse
	bad.Status.Conditions[0].Message, bad.Status.Conditions[0].LastTransitionTime = "authentication failed", metav1.NewTime(now.Add(-time.Hour))
	items := []Resource{RepositoryResource(repo, repo.Spec.URL), RepositoryResource(bad, bad.Spec.URL)}
	SortResources(items)
	return items
}

func sampleTree() Tree {
	ref := func(group, kind, name string) mizzen.Ref {
		return mizzen.Ref{Group: group, Kind: kind, Namespace: "shop", Name: name}
	}
	set := Node{Ref: ref("apps", "ReplicaSet", "web-1"), Health: "Healthy"}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		set.Children = append(set.Children, Node{Ref: ref("", "Pod", "web-1-"+name), Health: "Healthy"})
	}
	set.Children[4].Health, set.Children[4].Message = "Degraded", "CrashLoopBackOff "+hostile
	return Tree{Namespace: "mizzen-system", Name: "web", State: Degraded, Cluster: "in-cluster", Objects: []Node{
		{Ref: ref("apps", "Deployment", "web"), Health: "Progressing", Message: "4 of 5 available", Children: []Node{set}},
		{Ref: ref("", "ConfigMap", "gone"), Health: "Missing", Message: "the object does not exist"},
		{Ref: ref("", "Service", "web"), Health: "Healthy", Deleting: true},
	}}
}

func sampleEvents() []Event {
	event := &eventsv1.Event{
		EventTime: metav1.NewMicroTime(now.Add(-time.Minute)), Type: "Warning", Reason: "BackOff", Note: "restarting " + hostile,
		Series: &eventsv1.EventSeries{Count: 12, LastObservedTime: metav1.NewMicroTime(now.Add(-5 * time.Second))},
	}
	event.Regarding.APIVersion, event.Regarding.Kind, event.Regarding.Namespace, event.Regarding.Name = "v1", "Pod", "shop", "web-1"
	old := &eventsv1.Event{Type: "Normal", Reason: "Synced", Note: "fedcba98 synced", DeprecatedLastTimestamp: metav1.NewTime(now.Add(-time.Hour)), DeprecatedCount: 1}
	old.Regarding.APIVersion, old.Regarding.Kind, old.Regarding.Namespace, old.Regarding.Name = "mizzen.dev/v1alpha1", "Repository", "mizzen-system", "demo"
	items := []Event{EventOf(event), EventOf(old)}
	SortEvents(items)
	return items
}

func sampleChecks() Checks {
	return Checks{[]Check{
		{Name: "git", Level: OK, Message: "git 2.39.5"},
		{Name: "sandbox", Level: Warn, Message: "charts cannot be confined here", Remedy: "render only charts that you trust"},
		{Name: "controller", Level: Fail, Message: "none runs " + hostile, Remedy: "run 'mizzen up'"},
	}}
}

func sampleHistory() History {
	return History{Namespace: "mizzen-system", Name: "web", Items: good().Status.History}
}

func sampleFindings() []mizzen.Finding {
	web := mizzen.Ref{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "web"}
	return []mizzen.Finding{
		{
			Code: mizzen.CodeUnknownField, Severity: mizzen.Fatal, Ref: web, Path: "spec.replica", Message: "unknown field spec.replica",
			Remedy: "did you mean spec.replicas?", Origin: mizzen.Origin{File: "web/a file,100%.yaml", Line: 9},
		},
		{Code: mizzen.CodeUnknownField, Severity: mizzen.Fatal, Message: "two\n::error::" + hostile, Origin: mizzen.Origin{File: "web/b.yaml"}},
		{Code: mizzen.CodeSubmodule, Severity: mizzen.Warning, Message: "the submodule lib is not fetched"},
		{Code: mizzen.CodeUnknownKind, Severity: mizzen.Info, Ref: web, Message: "no schema"},
	}
}

// TestNothingSteersTheTerminal renders everything there is and looks for
// characters that a terminal obeys.
func TestNothingSteersTheTerminal(t *testing.T) {
	for name, write := range goldens() {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		if strings.HasSuffix(name, ".ansi") {
			text = strings.NewReplacer("\x1b[31m", "", "\x1b[33m", "", "\x1b[2m", "", "\x1b[0m", "").Replace(text)
		}
		if at := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && unprintable(r) }); at >= 0 {
			t.Errorf("%s holds %q", name, text[max(0, at-20):min(len(text), at+20)])
		}
	}
}

// TestColorOnlyColors: what is colored reads the same without it.
func TestColorOnlyColors(t *testing.T) {
	var plain, colored bytes.Buffer
	if err := resources(&plain, Style{}); err != nil {
		t.Fatal(err)
	}
	if err := resources(&colored, Style{Color: true}); err != nil {
		t.Fatal(err)
	}
	stripped := colored.String()
	for _, code := range []string{green, red, yellow, faint, bold, "0"} {
		stripped = strings.ReplaceAll(stripped, "\x1b["+code+"m", "")
	}
	if stripped != plain.String() {
		t.Errorf("with color:\n%s\nwithout:\n%s", stripped, plain.String())
	}
	if !strings.Contains(colored.String(), "\x1b[31m") {
		t.Error("nothing is red")
	}
}

func TestDocumentsNameTheirSchema(t *testing.T) {
	for name, write := range goldens() {
		if !strings.HasSuffix(name, ".json") {
			continue
		}
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		var doc map[string]any
		if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s, _ := doc["schema"].(string); !strings.HasPrefix(s, "mizzen.dev/") || strings.Count(b.String(), `"schema"`) != 1 {
			t.Errorf("%s has the schema %q", name, s)
		}
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "just now", 59 * time.Second: "59 s ago", 61 * time.Second: "1 min ago", 47 * time.Hour: "47 h ago", 72 * time.Hour: "3 days ago",
		-time.Minute: "just now",
	} {
		if got := Ago(now, now.Add(-d)); got != want {
			t.Errorf("Ago(%s) = %s, want %s", d, got, want)
		}
	}
	if got := Ago(now, time.Time{}); got != "never" {
		t.Error(got)
	}
}
