package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"mizzen.dev/mizzen/api/v1alpha1"
)

// gated is a repository whose policy wants approval for every ConfigMap that
// changes, by the owners of app/.
func gated(value string) map[string]string {
	return map[string]string{
		".mizzen.yaml": `policy:
  rules:
  - name: config
    level: approval
    message: a ConfigMap changes
    expression: changes.filter(c, c.action == "update" && c.kind == "ConfigMap")
`,
		"CODEOWNERS": "app/ @acme/security\n", "app/cm.yaml": configMap("cm", value),
	}
}

// people may all make Approvals; alice may approve for the owners, mallory for
// nobody.
const people = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: makes-approvals, namespace: $NS}
rules: [{apiGroups: [mizzen.dev], resources: [approvals], verbs: [create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: approves, namespace: $NS}
rules:
- {apiGroups: [mizzen.dev], resources: [applications], verbs: [approve]}
- {apiGroups: [mizzen.dev], resources: [owners], resourceNames: ["@acme/security"], verbs: [approve]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: makes-approvals, namespace: $NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: makes-approvals}
subjects: [{kind: User, name: alice, apiGroup: rbac.authorization.k8s.io}, {kind: User, name: mallory, apiGroup: rbac.authorization.k8s.io}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: approves, namespace: $NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: approves}
subjects: [{kind: User, name: alice, apiGroup: rbac.authorization.k8s.io}]
`

// newGate is a stage with a gate: "app" is synced with the value 1.
func newGate(t *testing.T) (*stage, *process) {
	t.Helper()
	s := newStage(t, 0)
	s.apply(people)
	s.publish(gated("1"))
	p := launch(t, s.lab, s.state).ready()
	s.app("app", "app", "sync: {gate: Policy}")
	s.shows("cm", "value", "1")
	s.until("app", "Ready", metav1.ConditionTrue, "")
	return s, p
}

// change pushes another value and waits until it is held; it returns the digest
// to approve.
func (s *stage) change(value string) (digest string) {
	s.test.Helper()
	commit := s.push("Change to "+value, map[string]string{"app/cm.yaml": configMap("cm", value)})
	s.wait("the revision to be held", func(ctx context.Context) bool {
		app := s.read(ctx, "app")
		held := app.Status.Review != nil && app.Status.Review.Revision == commit && strings.Contains(conditionMessage(app, "Synced"), "needs the approval")
		if held {
			digest = app.Status.Review.Digest
		}
		return held
	}, func() string { return fmt.Sprint(s.read(s.test.Context(), "app").Status) })
	return digest
}

// approve makes an Approval as one user in the name of another.
func (s *stage) approve(ctx context.Context, name, as, user, digest string) error {
	config := rest.CopyConfig(s.lab.Config)
	config.Impersonate.UserName = as
	return newClient(s.test, config).Create(ctx, &v1alpha1.Approval{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.ns, Name: name},
		Spec:       v1alpha1.ApprovalSpec{Application: "app", Digest: digest, User: user, Owners: []string{"@acme/security"}},
	})
}

// forge has mallory approve as alice, as soon as the API server lets it pass.
func (s *stage) forge(name, digest string) {
	s.test.Helper()
	var err error
	s.wait("the API server to take anything", func(ctx context.Context) bool {
		err = s.approve(ctx, name, "mallory", "alice", digest)
		return err == nil || apierrors.IsAlreadyExists(err)
	}, func() string { return err.Error() })
}

// agree has alice approve until it counts: not before the API server has enforced
// the policy for a while.
func (s *stage) agree(digest, value string) {
	s.test.Helper()
	n := 0
	s.wait("the approval of alice to count", func(ctx context.Context) bool {
		if n%40 == 0 {
			if err := s.approve(ctx, fmt.Sprintf("alice-%s-%d", value, n/40), "alice", "alice", digest); err != nil {
				s.test.Logf("not yet: %v", err)
			}
		}
		n++
		return s.value(ctx, s.core, s.ns, "cm", "value") == value
	}, func() string { return conditionMessage(s.read(s.test.Context(), "app"), "Synced") })
	s.until("app", "Ready", metav1.ConditionTrue, "")
}

// says waits until the condition Synced of "app" says a text.
func (s *stage) says(text string) {
	s.test.Helper()
	last := ""
	s.wait(fmt.Sprintf("%q", text), func(ctx context.Context) bool {
		last = conditionMessage(s.read(ctx, "app"), "Synced")
		return strings.Contains(last, text)
	}, func() string { return last })
}

// stays fails if what is held was let through.
func (s *stage) stays(value string) {
	s.test.Helper()
	if got := s.value(s.test.Context(), s.core, s.ns, "cm", "value"); got != value {
		s.test.Fatalf("the cluster has %q, want %q: it was let through", got, value)
	}
}

func (s *stage) kube(args ...string) {
	s.test.Helper()
	if out, err := s.run(s.test.Context(), args...); err != nil {
		s.test.Fatalf("kubectl %v: %v %s", args, err, out)
	}
}

// A process that is killed while a revision is held: the next one holds it too,
// by the same digest and without a write.
func TestGateRestart(t *testing.T) {
	t.Parallel()
	s, p := newGate(t)
	digest := s.change("2")
	p.kill()
	before := s.read(t.Context(), "app")
	audit := s.lab.Audit(t)
	p = launch(t, s.lab, s.state).ready()
	p.says("needs the approval of @acme/security")
	s.stays("1")
	if writes := effective(audit.Requests(t), "configmaps", s.ns); len(writes) > 0 {
		t.Errorf("a restart wrote %v", writes)
	}
	now := s.read(t.Context(), "app")
	if now.Status.Review == nil || now.Status.Review.Digest != digest || now.ResourceVersion != before.ResourceVersion {
		t.Errorf("the review was %+v and is %+v", before.Status.Review, now.Status.Review)
	}
	s.heals("cm", "1")
	s.agree(digest, "2")
}

// What an Approval is good for: its own digest, until it is used.
func TestGateUsedApproval(t *testing.T) {
	t.Parallel()
	s, _ := newGate(t)
	old := s.change("2")
	next := s.change("3")
	if old == next {
		t.Fatal("another change has the same digest")
	}
	if err := s.approve(t.Context(), "old", "alice", "alice", old); err != nil {
		t.Fatal(err)
	}
	s.heals("cm", "1") // whatever the Approval does is done by now
	s.stays("1")
	if by := s.read(t.Context(), "app").Status.Review.Approvals[0].By; len(by) > 0 {
		t.Errorf("an approval of another digest counts: %v", by)
	}
	s.agree(next, "3")
	s.kube("delete", "approvals", "--all", "-n", s.ns)
	s.heals("cm", "3")
	synced := s.until("app", "Ready", metav1.ConditionTrue, "")
	if synced.Status.Review == nil || synced.Status.Review.Digest != next {
		t.Errorf("the review that was agreed to is %+v", synced.Status.Review)
	}
	// Back and forth is another step each time, and takes another Approval.
	if again := s.change("1"); again == old || again == next {
		t.Error("an approval may be used twice")
	}
	s.stays("3")
}

// While the API server does not verify who approves, and of what was made then,
// nothing counts: in whatever way the policy is out of force.
func TestGateUnverified(t *testing.T) {
	t.Parallel()
	const policy = "mizzen.dev-approval"
	s, p := newGate(t)
	digest := s.change("2")
	if err := s.approve(t.Context(), "too-early", "mallory", "alice", digest); !apierrors.IsForbidden(err) {
		t.Fatalf("mallory approves as alice: %v", err)
	}
	s.kube("delete", "validatingadmissionpolicybinding", policy)
	s.forge("without-binding", digest)
	s.says("there are approvals that do not count: approvals: the API server does not verify who makes it")
	s.stays("1")
	// A restart installs what is missing, and what was made before stays doubtful.
	p.stop()
	launch(t, s.lab, s.state).ready()
	s.says("approval without-binding: it was made, or changed, while the API server did not verify by whom; delete it and approve again")
	s.stays("1")
	// The policy is there all the time, and warns for a moment.
	s.kube("patch", "validatingadmissionpolicybinding", policy, "--type=merge", "-p", `{"spec":{"validationActions":["Audit"]}}`)
	s.forge("while-it-warned", digest)
	s.says("the API server does not verify who makes it")
	s.kube("patch", "validatingadmissionpolicybinding", policy, "--type=merge", "-p", `{"spec":{"validationActions":["Deny"]}}`)
	s.wait("the policy to be in force", func(ctx context.Context) bool {
		return apierrors.IsForbidden(s.approve(ctx, "probe", "mallory", "alice", "sha256:"+strings.Repeat("0", 64)))
	}, func() string { return "it is not" })
	s.kube("delete", "approval", "without-binding", "-n", s.ns) // wakes it
	s.says("approval while-it-warned: it was made")
	s.stays("1")
	s.agree(digest, "2")
}

// A definition of an older version drops the gate without a word. A controller
// does not begin with it, and one that runs lets nothing through: also not when
// the definition is mended, and the gate is gone for good.
func TestGateOldDefinition(t *testing.T) {
	t.Parallel()
	const drop = `[{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/sync/properties/gate"}]`
	s, p := newGate(t)
	gate := func() string {
		out, err := s.run(t.Context(), "get", "app.mizzen.dev", "app", "-n", s.ns, "-o", "jsonpath={.spec.sync.gate}")
		return fmt.Sprint(out, err)
	}
	age := func() {
		s.kube("patch", "crd", "applications.mizzen.dev", "--type=json", "-p", drop)
		s.wait("the API server to drop the gate", func(context.Context) bool { return gate() == "<nil>" }, gate)
	}
	s.change("2")
	p.stop()
	age()
	p = launchAs(t, s.lab, s.state, "controller")
	p.says("drops spec.sync.gate from every object; install those of this version")
	s.stays("1")
	p.stop()

	p = launch(t, s.lab, s.state).ready()
	p.says("needs the approval of @acme/security")
	age()
	// The controller's watch begins anew some time after the definition changed;
	// what it knows from before is held by the gate.
	value, polls := "", 0
	s.wait("the loss of the gate to be told", func(ctx context.Context) bool {
		if polls++; polls%100 == 1 {
			value = fmt.Sprint(3 + polls/100)
			s.push("Change to "+value, map[string]string{"app/cm.yaml": configMap("cm", value)})
		}
		return strings.Contains(conditionMessage(s.read(ctx, "app"), "Synced"), "had a gate, and nobody took it away: "+
			"customresourcedefinition applications.mizzen.dev: it is of another version of Mizzen, and drops spec.sync.gate")
	}, func() string { return conditionMessage(s.read(t.Context(), "app"), "Synced") })
	s.stays("1")
	p.stop()
	p = launch(t, s.lab, s.state).ready()
	s.says("dropped spec.sync.gate; set it again, or edit the spec if it is to go")
	s.stays("1")
	p.alive()

	// Somebody acts.
	s.kube("patch", "app.mizzen.dev", "app", "-n", s.ns, "--type=merge", "-p", `{"spec":{"sync":{"gate":"Policy"}}}`)
	s.says("needs the approval of @acme/security")
	s.stays("1")
	s.kube("patch", "app.mizzen.dev", "app", "-n", s.ns, "--type=json", "-p", `[{"op":"remove","path":"/spec/sync/gate"}]`)
	s.shows("cm", "value", value)
	s.until("app", "Ready", metav1.ConditionTrue, "")
}

// Two clusters that follow one repository have a gate each: who agrees in one has
// said nothing about the other.
func TestGateOfTwoClusters(t *testing.T) {
	t.Parallel()
	one, _ := newGate(t)
	two := newStage(t, 0)
	two.apply(people)
	two.declare(one.repo.URL)
	launch(t, two.lab, two.state).ready()
	two.app("app", "app", "sync: {gate: Policy}")
	two.shows("cm", "value", "1")
	digest := one.change("2")
	two.says("needs the approval of @acme/security")
	other := two.read(t.Context(), "app").Status.Review.Digest
	one.agree(digest, "2")
	two.heals("cm", "1")
	two.stays("1")
	two.agree(other, "2")
}
