// Package engine joins the stages of the pipeline: Plan says what a sync of
// one Application would do, Sync carries exactly that out. The command line
// and the controller call the same two, so a plan on a laptop is the plan of
// the cluster.
package engine

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/apply"
	"mizzen.dev/mizzen/internal/diff"
	"mizzen.dev/mizzen/internal/health"
	"mizzen.dev/mizzen/internal/lint"
	"mizzen.dev/mizzen/internal/live"
	"mizzen.dev/mizzen/internal/render"
)

// Engine holds what all Applications share. It is safe for concurrent use.
type Engine struct {
	Renderer *render.Memo
	Judge    *health.Judge
	Clock    clock.Clock
	// Analyzer asks Istio's analyzers; nil if there is no way to run them.
	Analyzer Analyzer
}

// Analyzer says what Istio's own analyzers find wrong with the objects of one
// cluster.
type Analyzer interface {
	Analyze(ctx context.Context, objects []mizzen.Object) ([]mizzen.Finding, error)
}

// Target is one Application to plan: what it says, where it stands in Git,
// and what earlier syncs left.
type Target struct {
	Name mizzen.Name
	// Options say how to render; Capabilities are filled in by the engine.
	Options     render.Options
	Snapshot    mizzen.Snapshot
	Destination Destination
	Policy      Policy
	// Known is the inventory. A nil one means that nothing was ever synced.
	Known Inventory
	// RenderKey is the identity of the render key of the last sync. Output that
	// is not a function of its inputs is kept as long as the key is the same.
	RenderKey string
	// Suspects are objects that a watch reported as drifted: they are looked at
	// although both hashes may hold.
	Suspects map[mizzen.Ref]bool
	// Recheck looks at objects of exclusive kinds although both hashes hold: a
	// field that was added while nobody watched shows in neither.
	Recheck bool
	// Careful looks at every object, although what exists may be known from a
	// moment ago: the last sync found that it was not so any more.
	Careful bool
	// Direct lets the apply itself verify a change that is the only one of a
	// sync: a failure then writes nothing just the same, at one request less.
	Direct bool
	// Only restricts the Plan to the Suspects: nothing else is looked at, and
	// nothing is pruned. It is how drift is restored.
	Only bool
}

// Policy is how the Application wants to be synced.
type Policy struct {
	// Namespace is for objects that name none.
	Namespace       string
	CreateNamespace bool
	Prune           bool
	AllowEmpty      bool
	DryRunCreates   bool
	Exclusive       []schema.GroupKind
	// Timeout bounds a sync.
	Timeout time.Duration
}

// Destination is a cluster as one Application may use it.
type Destination struct {
	// Name is that of the Cluster, or "in-cluster".
	Name         string
	Installation string
	Cluster      *live.Cluster
	// Watcher knows the metadata of our objects without asking; nil for a
	// command line, which asks.
	Watcher *live.Watcher
	Writer  *apply.Applier
	// Schemas are those that the cluster publishes.
	Schemas lint.Schemas
	Masker  diff.Masker
	// Note remembers kinds before the first object of theirs is written, so
	// that a crash leaves nothing that nobody looks for; nil for a command line.
	Note func(context.Context, []schema.GroupKind) error
}

// InCluster is the Destination's name of the cluster that holds the
// Applications.
const InCluster = "in-cluster"

// Inventory is what was applied for an Application.
type Inventory map[mizzen.Ref]Entry

// Entry is one applied object.
type Entry struct {
	// Version is the API version without its group.
	Version string
	// Content is the hash of what was applied, Managed that of our entry in
	// managedFields right after.
	Content, Managed string
}

// Planned is a Plan with what is needed to carry it out.
type Planned struct {
	*mizzen.Plan
	// Key is what the rendering depended on.
	Key render.Key
	// Nondeterministic output is applied once per key.
	Nondeterministic bool
	// Waits is told what a Sync waits for between two waves, once it is worth
	// telling and whenever that becomes another object or reason; nil is fine.
	Waits func(ctx context.Context, worst health.Summary)
	// Yield is called when a Sync begins to wait for a wave, and what it
	// returns when the wait is over, so that others may work meanwhile; nil is
	// fine.
	Yield func() (resume func())

	target Target
	// direct is the live object of a change that was not dry-run; see
	// Target.Direct. What the change did is told from the answer.
	direct *unstructured.Unstructured
	// kept is the part of the inventory that needs no work.
	kept Inventory
	// objects are all that was rendered and prepared, by identity.
	objects map[mizzen.Ref]mizzen.Object
}

// Refs returns the identity of every object of the Application that should
// exist after the sync.
func (p *Planned) Refs() []mizzen.Ref {
	refs := make([]mizzen.Ref, 0, len(p.objects))
	for r := range p.objects {
		refs = append(refs, r)
	}
	return refs
}

// Partial tells that the Plan looks at a few suspects only.
func (p *Planned) Partial() bool { return p.target.Only }

// Stage names the part of the pipeline that an error comes from.
type Stage string

// The stages that can fail.
const (
	StageRender   Stage = "render"
	StageEmpty    Stage = "empty"
	StageValidate Stage = "validate"
	StageRead     Stage = "read"
	StageApply    Stage = "apply"
)

// StageError says which stage failed.
type StageError struct {
	Stage Stage
	Err   error
}

// Error returns the message of the cause.
func (e *StageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *StageError) Unwrap() error { return e.Err }

func (e *Engine) capabilities(ctx context.Context, c *live.Cluster) (render.Capabilities, error) {
	version, apis, err := c.Capabilities(ctx)
	if err != nil {
		return render.Capabilities{}, err
	}
	return render.Capabilities{KubeVersion: version, APIVersions: apis}, nil
}
