package engine

import (
	"context"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/health"
	"mizzen.dev/mizzen/internal/live"
	"mizzen.dev/mizzen/internal/observe"
)

// Health judges the objects of the targets that need more than existence to
// be up. It returns those that are not healthy; an object that does not exist
// is missing.
func (e *Engine) Health(ctx context.Context, c *live.Cluster, targets []live.Target) (map[mizzen.Ref]health.Judgement, error) {
	var ask []live.Target
	for _, t := range targets {
		if e.Judge.NeedsObject(t.Kind.GroupKind()) {
			ask = append(ask, t)
		}
	}
	if len(ask) == 0 {
		return nil, nil
	}
	ctx, end := observe.Span(ctx, observe.Health)
	objects, err := c.Objects(ctx, ask)
	defer func() { end(err) }()
	if err != nil {
		return nil, err
	}
	unhealthy := map[mizzen.Ref]health.Judgement{}
	for _, t := range ask {
		j := health.Judgement{Status: health.Missing, Message: "the object does not exist"}
		if o := objects[t.Ref()]; o != nil {
			j = e.Judge.Judge(ctx, o)
		}
		if j.Status != health.Healthy {
			unhealthy[t.Ref()] = j
		}
	}
	return unhealthy, nil
}
