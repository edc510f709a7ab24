// Package observe is how Mizzen is watched while it runs: its logs, its
// Prometheus metrics and its OpenTelemetry traces.
//
// A sync is one trace. Whoever starts it calls Observer.Sync; every stage that
// runs for it is bracketed by Span with the context that Sync returned:
//
//	ctx, end := observer.Sync(ctx, app, revision)
//	defer func() { end(err) }()
//	…
//	rctx, endRender := observe.Span(ctx, observe.Render)
//	out, err := renderer.Render(rctx, …)
//	endRender(err)
//
// Each bracket is a span and a sample of mizzen_sync_duration_seconds. Without
// Sync, and without a collector configured, a bracket costs next to nothing.
package observe

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"mizzen.dev/mizzen"
)

// Stage is a part of a sync: a package of the pipeline.
type Stage string

// The stages, in their order. Whole is the sync itself.
const (
	Source Stage = "source"
	Render Stage = "render"
	Lint   Stage = "lint"
	Diff   Stage = "diff"
	Apply  Stage = "apply"
	Health Stage = "health"
	Whole  Stage = "sync"
)

// scope names the instrumentation in traces.
const scope = "mizzen.dev/mizzen"

// Observer joins metrics and traces. Its zero value observes nothing.
type Observer struct {
	Metrics *Metrics
	Traces  *Traces
	// Now is the clock; time.Now if nil.
	Now func() time.Time
}

func (o *Observer) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

type observerKey struct{}

// Sync begins the trace of a sync of an Application to a revision. The
// function it returns ends it, with the error that the sync ended with, and
// must be called once. Traces do not hold the error's words, which may quote
// what a repository says; they hold its Kind.
func (o *Observer) Sync(ctx context.Context, app mizzen.Name, revision string) (context.Context, func(error)) {
	ctx = context.WithValue(ctx, observerKey{}, o)
	ctx, span := o.Traces.tracer().Start(ctx, string(Whole), trace.WithNewRoot(), trace.WithAttributes(
		attribute.String("mizzen.application.namespace", app.Namespace),
		attribute.String("mizzen.application.name", app.Name),
		attribute.String("mizzen.revision", revision),
	))
	begin := o.now()
	return ctx, func(err error) {
		o.Metrics.stage(Whole, o.now().Sub(begin))
		o.Metrics.synced(err)
		finish(span, err)
	}
}

// Span brackets a stage of the sync that ctx belongs to; outside of one it
// observes nothing. The function it returns ends the stage and must be called
// once.
func Span(ctx context.Context, stage Stage, attributes ...attribute.KeyValue) (context.Context, func(error)) {
	o, ok := ctx.Value(observerKey{}).(*Observer)
	if !ok {
		return ctx, func(error) {}
	}
	ctx, span := o.Traces.tracer().Start(ctx, string(stage), trace.WithAttributes(attributes...))
	begin := o.now()
	return ctx, func(err error) {
		o.Metrics.stage(stage, o.now().Sub(begin))
		finish(span, err)
	}
}

func finish(span trace.Span, err error) {
	if err != nil {
		kind := string(mizzen.KindOf(err))
		span.SetStatus(codes.Error, kind)
		span.SetAttributes(attribute.String("error.type", kind))
	}
	span.End()
}

// TraceID returns the id of the trace that ctx belongs to, for status and
// events; "" if there is none or it is not recorded.
func TraceID(ctx context.Context) string {
	c := trace.SpanContextFromContext(ctx)
	if !c.IsSampled() {
		return ""
	}
	return c.TraceID().String()
}
