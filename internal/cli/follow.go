package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
)

// errEnough ends a follow.
var errEnough = errors.New("enough was seen")

// listAgain is the pause before a watch that ended is begun again.
const listAgain = time.Second

// follow calls see with every object of a list as it is, and again whenever
// one changes, until see returns errEnough or fails. An object may be seen
// twice without a change. The first list must succeed; later outages are waited
// out.
func (a *app) follow(ctx context.Context, c client.WithWatch, list func() client.ObjectList, see func(o client.Object, gone bool) error, options ...client.ListOption) error {
	for first := true; ; first = false {
		err := followOnce(ctx, c, list(), see, options)
		if errors.Is(err, errEnough) {
			return nil
		}
		if ctx.Err() != nil {
			return tooLate(ctx)
		}
		var listing listError
		if err != nil && (first || !errors.As(err, &listing)) {
			return err
		}
		if err != nil {
			fmt.Fprintf(a.Err, "the cluster does not answer; trying again: %v\n", err)
		}
		select {
		case <-ctx.Done():
			return tooLate(ctx)
		case <-a.clock.After(listAgain):
		}
	}
}

// tooLate is the error of a wait that ended before what was waited for.
func tooLate(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &mizzen.Error{Kind: mizzen.Timeout, Object: "--timeout", Err: errors.New("it is over")}
	}
	return ctx.Err()
}

// listError is a failure of the API, in contrast to one of who looks.
type listError struct{ error }

func (e listError) Unwrap() error { return e.error }

func followOnce(ctx context.Context, c client.WithWatch, list client.ObjectList, see func(client.Object, bool) error, options []client.ListOption) error {
	if err := c.List(ctx, list, options...); err != nil {
		return listError{err}
	}
	err := meta.EachListItem(list, func(o runtime.Object) error { return see(o.(client.Object), false) })
	if err != nil {
		return err
	}
	from := &client.ListOptions{Raw: nil}
	from.ApplyOptions(options)
	from.Raw = from.AsListOptions()
	from.Raw.ResourceVersion = list.GetResourceVersion()
	w, err := c.Watch(ctx, list, from)
	if err != nil {
		return listError{err}
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		switch event.Type {
		case watch.Added, watch.Modified, watch.Deleted:
			if err := see(event.Object.(client.Object), event.Type == watch.Deleted); err != nil {
				return err
			}
		case watch.Error:
			return listError{apierrors.FromObject(event.Object)}
		case watch.Bookmark:
		}
	}
	return nil
}

// await follows one Application until done says so.
func (a *app) await(ctx context.Context, c client.WithWatch, app *v1alpha1.Application, done func(*v1alpha1.Application) (bool, error)) error {
	name := app.Namespace + "/" + app.Name
	err := a.follow(ctx, c, func() client.ObjectList { return &v1alpha1.ApplicationList{} }, func(o client.Object, gone bool) error {
		if gone {
			return &mizzen.Error{Kind: mizzen.NotFound, Object: "application " + name, Err: errors.New("it was deleted")}
		}
		is, err := done(o.(*v1alpha1.Application))
		if err == nil && is {
			err = errEnough
		}
		return err
	}, client.InNamespace(app.Namespace), client.MatchingFields{"metadata.name": app.Name})
	if mizzen.KindOf(err) == mizzen.Timeout {
		return &mizzen.Error{
			Kind: mizzen.Timeout, Object: "application " + name, Err: errors.New("it took longer than --timeout"),
			Remedy: "see 'mizzen status " + app.Name + "'; a controller goes on",
		}
	}
	return explain(err, "application "+name, "")
}
