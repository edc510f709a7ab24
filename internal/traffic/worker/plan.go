package worker

import (
	"context"
	"reflect"
	"slices"

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
	// MeshConfig is YAML, laid over what the objects say of the mesh.
	MeshConfig string
}

// Rest ends the worker; the next question starts another one.
func (p *Planner) Rest() { p.Client.Close() }

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
		Ask: AskEffects, Both: Send(matters), Before: Send(gone), After: Send(come), Vantage: vantage, MeshConfig: p.MeshConfig,
	}
	var effects []mizzen.Effect
	err := p.Client.Do(ctx, job, &effects)
	return effects, err
}

// Analyze says what Istio's analyzers find wrong with objects.
func (p *Planner) Analyze(ctx context.Context, objects []mizzen.Object) ([]mizzen.Finding, error) {
	job := Job{Ask: AskAnalyze, MeshConfig: p.MeshConfig}
	for _, o := range objects {
		job.Both = append(job.Both, Object{Content: o.Object, Origins: o.Origins})
	}
	var findings []mizzen.Finding
	err := p.Client.Do(ctx, job, &findings)
	return findings, err
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
	before, err := s.mesh(ctx, job, job.Both, job.Before)
	if err != nil {
		return nil, err
	}
	after, err := s.mesh(ctx, job, job.Both, job.After)
	if err != nil {
		return nil, err
	}
	return effect.Compare(before, after, effect.Options{
		Before: received(job.Both, job.Before), After: received(job.Both, job.After),
	}), nil
}

func analyzed(ctx context.Context, _ *session, job Job) (any, error) {
	return analyze.Analyze(ctx, received(job.Both), analyze.Known{}, analyze.Options{MeshConfig: job.MeshConfig, RootNamespace: job.RootNamespace})
}
