package review

import (
	"context"
	"runtime"

	"golang.org/x/sync/errgroup"

	"mizzen.dev/mizzen/internal/engine/discover"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/source"
)

// renderAll renders Applications beside each other. What cannot be rendered is
// said in each of them; an error means that it is over.
func (x *run) renderAll(ctx context.Context, s *side, apps []*deployed) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0) + 1)
	for _, d := range apps {
		g.Go(func() error {
			if s == x.before && x.share(d) {
				return nil
			}
			x.render(ctx, s, d, s == x.before || x.differs(d))
			return ctx.Err()
		})
	}
	return g.Wait()
}

// differs guesses whether the base renders something else, by the directories
// alone: a wrong guess costs a rendering.
func (x *run) differs(d *deployed) bool {
	for _, p := range d.Parts {
		before, err := p.Over(x.before.snapshot).ID(p.Options.Path)
		if err != nil {
			return true
		}
		if after, err := p.Over(x.after.snapshot).ID(p.Options.Path); err != nil || before != after {
			return true
		}
	}
	return false
}

// share takes over what the head renders if the base renders the same.
func (x *run) share(d *deployed) bool {
	twin := x.after.apps[d.ID()]
	if twin == nil || twin.err != nil || len(twin.results) != len(d.Parts) {
		return false
	}
	for i, p := range d.Parts {
		key := twin.results[i].Key
		if !key.Matches(x.options(p, twin.exact)) || !key.Holds(p.Over(x.before.snapshot)) {
			return false
		}
	}
	d.results, d.exact, d.twin = twin.results, twin.exact, twin
	return true
}

func (x *run) render(ctx context.Context, s *side, d *deployed, exact bool) {
	d.exact, d.results, d.err = exact, nil, nil
	for _, p := range d.Parts {
		snapshot := p.Over(s.of(d))
		result, err := x.Renderer.Render(ctx, snapshot, x.options(p, exact))
		if err != nil {
			d.err = source.Explain(ctx, s.of(d), err)
			d.results = nil
			return
		}
		d.results = append(d.results, result)
	}
}

func (x *run) options(p discover.Part, exact bool) render.Options {
	o := p.Options
	o.FieldOrigins = exact
	if o.Capabilities.KubeVersion == "" {
		o.Capabilities.KubeVersion = x.request.Capabilities.KubeVersion
	}
	if len(o.Capabilities.APIVersions) == 0 {
		o.Capabilities.APIVersions = x.request.Capabilities.APIVersions
	}
	return o
}

// sharpen renders the head again, with the origin of every field, where the
// base turned out to be different.
func (x *run) sharpen(ctx context.Context) error {
	shared := map[*deployed]bool{}
	for _, d := range x.before.apps {
		shared[d.twin] = true
	}
	var again []*deployed
	for _, d := range x.after.apps {
		if !shared[d] && !d.exact && d.err == nil {
			again = append(again, d)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0) + 1)
	for _, d := range again {
		g.Go(func() error {
			x.render(ctx, x.after, d, true)
			return ctx.Err()
		})
	}
	return g.Wait()
}
