package worker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"reflect"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/analyze"
	"mizzen.dev/mizzen/internal/traffic/compile"
	"mizzen.dev/mizzen/internal/traffic/effect"
	"mizzen.dev/mizzen/internal/traffic/release"
)

// What is asked about a whole mesh: what a change does, and what is wrong.
const (
	AskEffects Ask = "effects"
	AskAnalyze Ask = "analyze"
)

// Planner asks a Client what a change does to a mesh, and what is wrong with
// one.
type Planner struct {
	Client *Client
	// Beside looks for mistakes while Client compares: a process more, for less
	// waiting. nil leaves both to Client.
	Beside *Client
	// MeshConfig is YAML, laid over what the objects say of the mesh.
	MeshConfig string

	mu sync.Mutex
	// analyzed are the last analyses, the newest first.
	analyzed []analysis
}

// analysis is what was found in the objects of a job.
type analysis struct {
	digest   [sha256.Size]byte
	findings []mizzen.Finding
}

// maxAnalyses is how many analyses are remembered: the next change begins where
// one of the last ended.
const maxAnalyses = 4

// Rest ends the workers; the next question starts another one.
func (p *Planner) Rest() {
	p.Client.Close()
	if p.Beside != nil {
		p.Beside.Close()
	}
}

// Effects says what becomes different in a mesh, the worst first. Objects that
// are on both sides are the same pointer; they are not changed. Without a
// change that matters to traffic nothing is asked.
func (p *Planner) Effects(ctx context.Context, before, after []mizzen.Object) ([]mizzen.Effect, error) {
	told := release.Effects(before, after)
	both, gone, come := divide(before, after)
	if len(gone)+len(come) == 0 {
		return told, nil
	}
	effects, err := p.compare(ctx, both, gone, come)
	if err != nil {
		return nil, err
	}
	effects = append(effects, told...)
	mizzen.SortEffects(effects)
	return effects, nil
}

// compare has both sides compiled, each with the flags of its own istiod.
func (p *Planner) compare(ctx context.Context, both, gone, come []mizzen.Object) ([]mizzen.Effect, error) {
	flags := flagsBetween(both, gone, come)
	if flags.compiled() {
		return p.acrossFlags(ctx, both, gone, come, flags)
	}
	effects, err := p.sameFlags(ctx, both, gone, come)
	return append(effects, flags.unknown()...), err
}

// sameFlags has one worker compile both sides.
func (p *Planner) sameFlags(ctx context.Context, both, gone, come []mizzen.Object) ([]mizzen.Effect, error) {
	changed := append(append([]mizzen.Object{}, gone...), come...)
	matters, vantage := compile.Slice(both, changed, compile.DefaultRoot)
	job := Job{
		Ask: AskEffects, Both: Send(matters), Before: send(gone, true), After: send(come, true), Vantage: vantage, MeshConfig: p.MeshConfig,
		Selections: compile.Selections(changed, compile.DefaultRoot),
	}
	var effects []mizzen.Effect
	err := p.Client.Do(ctx, job, &effects)
	return effects, err
}

// Analyze says what Istio's analyzers find wrong with objects. What was asked a
// moment ago is remembered.
func (p *Planner) Analyze(ctx context.Context, objects []mizzen.Object) ([]mizzen.Finding, error) {
	job := Job{Ask: AskAnalyze, MeshConfig: p.MeshConfig}
	for _, o := range objects {
		job.Both = append(job.Both, Object{Content: o.Object}) // lines move, and are known here
	}
	encoded, err := json.Marshal(job)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(encoded)
	findings, ok := p.recall(digest)
	if !ok {
		if err := cmp.Or(p.Beside, p.Client).do(ctx, job, encoded, &findings); err != nil {
			return nil, err
		}
		p.remember(analysis{digest, slices.Clone(findings)})
	}
	locate(findings, objects)
	return findings, nil
}

// locate says where the objects of findings were written, and sorts by that.
func locate(findings []mizzen.Finding, objects []mizzen.Object) {
	if len(findings) == 0 {
		return
	}
	origins := make(map[mizzen.Ref]mizzen.Origins, len(objects))
	for _, o := range objects {
		ref := o.Ref()
		if _, known := origins[ref]; !known {
			origins[ref] = o.Origins
		}
	}
	for i := range findings {
		f := &findings[i]
		f.Origin = origins[f.Ref].At(f.Path)
	}
	mizzen.SortFindings(findings)
}

// recall returns what was found in the objects of a job, if it is remembered.
func (p *Planner) recall(digest [sha256.Size]byte) (findings []mizzen.Finding, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, a := range p.analyzed {
		if a.digest == digest {
			p.analyzed = slices.Insert(slices.Delete(p.analyzed, i, i+1), 0, a)
			return slices.Clone(a.findings), true
		}
	}
	return nil, false
}

func (p *Planner) remember(a analysis) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.analyzed = slices.Insert(p.analyzed, 0, a)
	p.analyzed = p.analyzed[:min(len(p.analyzed), maxAnalyses)]
}

// divide tells what is on both sides from what only one has, of all that
// matters to traffic. An Application with one changed object is rendered anew:
// its others are equal, at other lines perhaps, and those of after count.
func divide(before, after []mizzen.Object) (both, gone, come []mizzen.Object) {
	there := make(map[*unstructured.Unstructured]bool, len(after))
	for _, o := range after {
		there[o.Unstructured] = true
	}
	old := map[mizzen.Ref]mizzen.Object{}
	for _, o := range before {
		switch {
		case !Relevant(o.Ref()):
		case there[o.Unstructured]:
			delete(there, o.Unstructured)
			both = append(both, o)
		default:
			gone = append(gone, o)
			old[o.Ref()] = o
		}
	}
	equal := map[*unstructured.Unstructured]bool{}
	for _, o := range after {
		if !there[o.Unstructured] || !Relevant(o.Ref()) {
			continue
		}
		was, known := old[o.Ref()]
		if known && reflect.DeepEqual(was.Object, o.Object) {
			equal[was.Unstructured] = true
			both = append(both, o)
			continue
		}
		come = append(come, o)
	}
	gone = slices.DeleteFunc(gone, func(o mizzen.Object) bool { return equal[o.Unstructured] })
	return both, gone, come
}

func effects(ctx context.Context, s *session, job Job) (any, error) {
	before, err := s.mesh(ctx, job, nil, job.Both, job.Before)
	if err != nil {
		return nil, err
	}
	after, err := s.mesh(ctx, job, job.newcomers(), job.Both, job.After)
	if err != nil {
		return nil, err
	}
	return effect.Compare(before, after, effect.Options{
		Before: received(job.Both, job.Before), After: received(job.Both, job.After),
	}), nil
}

// newcomers are the objects that the change brings.
func (j Job) newcomers() []mizzen.Ref {
	return compile.Newcomers(received(j.Before), received(j.After))
}

func analyzed(ctx context.Context, _ *session, job Job) (any, error) {
	return analyze.Analyze(ctx, received(job.Both), analyze.Known{}, analyze.Options{MeshConfig: job.MeshConfig, RootNamespace: job.RootNamespace})
}
