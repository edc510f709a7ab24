package worker

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/compile"
	"mizzen.dev/mizzen/internal/traffic/effect"
)

// What is asked where the sides have other flags: the mesh of one side as a
// whole, frozen; and what is different between that one and the other side.
const (
	AskCompile Ask = "compile"
	AskAcross  Ask = "across"
)

// acrossAnswer is the result of AskAcross.
type acrossAnswer struct {
	Effects []mizzen.Effect `json:"effects"`
	// Same tells that istiod makes the very same of both sides.
	Same bool `json:"same"`
}

func compiledMesh(ctx context.Context, s *session, job Job) (any, error) {
	mesh, err := s.mesh(ctx, job, nil, job.Both, job.After)
	if err != nil {
		return nil, err
	}
	return freeze(mesh)
}

func across(ctx context.Context, s *session, job Job) (any, error) {
	before, err := job.Compiled.thaw()
	if err != nil {
		return nil, err
	}
	after, err := s.mesh(ctx, job, job.newcomers(), job.Both, job.After)
	if err != nil {
		return nil, err
	}
	a := acrossAnswer{Effects: effect.Compare(before, after, effect.Options{
		Before: received(job.Both, job.Before), After: received(job.Both, job.After),
	})}
	if len(a.Effects) == 0 {
		cold, err := freeze(after)
		a.Same = err == nil && reflect.DeepEqual(cold.Resources, job.Compiled.Resources) && reflect.DeepEqual(cold.Views, job.Compiled.Views)
	}
	return a, nil
}

// acrossFlags has the sides compiled by two workers, the first side with the
// flags of its own istiod. A mesh that is too large for that is compiled with
// the flags of the second alone, and that is told.
func (p *Planner) acrossFlags(ctx context.Context, both, gone, come []mizzen.Object, flags flagged) ([]mizzen.Effect, error) {
	a, err := p.twoWorkers(ctx, both, gone, come)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if kind := mizzen.KindOf(err); kind == mizzen.TooLarge || kind == mizzen.Timeout {
		effects, known := p.sameFlags(ctx, both, gone, come)
		why := "what the flag changes is not known, since both sides are compiled with the new value: " + err.Error()
		return append(effects, flags.effects(mizzen.ImpactWarning, why)...), known
	}
	switch {
	case err != nil:
		return nil, err
	case a.Same:
		return flags.unknown(), nil
	case len(a.Effects) == 0:
		return flags.effects(mizzen.ImpactInfo, "istiod makes something else of the same objects; no request is found to which that matters"), nil
	}
	flags.blame(a.Effects)
	return append(a.Effects, flags.effects(mizzen.ImpactNotice, "istiod makes something else of the same objects: the other effects say what")...), nil
}

// twoWorkers compares without a slice: a flag can be about every object.
func (p *Planner) twoWorkers(ctx context.Context, both, gone, come []mizzen.Object) (a acrossAnswer, err error) {
	first := &Client{Executable: p.Client.Executable, AllowUnsandboxed: p.Client.AllowUnsandboxed, Starting: p.Client.Starting}
	defer first.Close()
	job := Job{Ask: AskCompile, Both: Send(both), After: send(gone, true), MeshConfig: p.MeshConfig}
	job.Selections = compile.Selections(slices.Concat(gone, come), compile.DefaultRoot)
	var mesh frozen
	if err := first.Do(ctx, job, &mesh); err != nil {
		return a, err
	}
	first.Close() // its memory is needed for the other side
	job.Ask, job.Before, job.After, job.Compiled = AskAcross, job.After, send(come, true), &mesh
	err = p.Client.Do(ctx, job, &a)
	return a, err
}

// flagged are the variables that differ between two sides, and the istiod that
// has them.
type flagged struct {
	istiod  mizzen.Ref
	changes []FlagChange
}

// flagsBetween compares the variables of istiod, with the lines that set them.
func flagsBetween(both, gone, come []mizzen.Object) flagged {
	job := Job{Both: deployments(both), Before: deployments(gone), After: deployments(come)}
	f := flagged{changes: job.FlagChanges()}
	if istiod := istiodOf(compile.DefaultRoot, job.Both, job.After); istiod != nil {
		f.istiod = received([]Object{*istiod})[0].Ref()
	}
	return f
}

// deployments are those among objects, with the origins of their fields.
func deployments(objects []mizzen.Object) []Object {
	var out []Object
	for _, o := range objects {
		if o.GetKind() == "Deployment" {
			out = append(out, Object{Content: o.Object, Origins: o.Origins})
		}
	}
	return out
}

// compiled tells whether istiod makes something else of the same objects.
func (f flagged) compiled() bool {
	return slices.ContainsFunc(f.changes, func(c FlagChange) bool { return c.Compiled })
}

// blame makes the flags the cause of what no object causes.
func (f flagged) blame(effects []mizzen.Effect) {
	i := slices.IndexFunc(f.changes, func(c FlagChange) bool { return c.Compiled })
	for n := range effects {
		if e := &effects[n]; e.Cause.Kind == "" && e.Origin.File == "" {
			e.Cause, e.Origin = f.istiod, f.changes[i].Origin
		}
	}
}

// effects tells of the variables that differ; the message is about those that
// each side is compiled with.
func (f flagged) effects(impact mizzen.Impact, message string) []mizzen.Effect {
	var out []mizzen.Effect
	for _, c := range f.changes {
		if c.Compiled {
			out = append(out, f.effect(c, impact, message))
		}
	}
	return append(out, f.unknown()...)
}

// unknown tells of the variables that are not in the model.
func (f flagged) unknown() []mizzen.Effect {
	var out []mizzen.Effect
	for _, c := range f.changes {
		if !c.Compiled {
			out = append(out, f.effect(c, mizzen.ImpactNotice, "the variable is not in the model: what it changes is not known"))
		}
	}
	return out
}

// maxShown bounds the value of a variable that is shown, in bytes.
const maxShown = 100

func (f flagged) effect(c FlagChange, impact mizzen.Impact, message string) mizzen.Effect {
	shown := func(value string) string {
		if len(value) > maxShown {
			value = value[:maxShown] + "…"
		}
		return fmt.Sprintf("%s=%s", c.Name, cmp.Or(value, "(not set)"))
	}
	return mizzen.Effect{
		Code: mizzen.EffectFlag, Impact: impact, Subject: "istiod " + c.Name, Message: message,
		Before: shown(c.Before), After: shown(c.After), Cause: f.istiod, Origin: c.Origin,
	}
}
