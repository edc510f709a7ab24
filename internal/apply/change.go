package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
)

// applyChange carries out a Create, Update or Replace.
func (r *run) applyChange(ctx context.Context, c mizzen.Change) (Result, error) {
	if c.Desired == nil {
		return Result{}, &mizzen.Error{
			Kind: mizzen.Internal, Object: c.Ref.String(), Err: errors.New("the plan holds no content"), Remedy: "plan again, do not sync a plan that was read from a file",
		}
	}
	if c.Action == mizzen.Replace {
		return r.replace(ctx, c)
	}
	if err := r.makeWay(ctx, c); err != nil {
		return Result{}, err
	}
	res, err := r.applySettling(ctx, c)
	if c.Options.Replace && c.UID != "" && isImmutable(err) {
		return r.replace(ctx, c)
	}
	if err == nil && c.Ref.GroupKind() == definitionKind {
		err = r.waitServed(ctx, *c.Desired)
	}
	return res, err
}

// makeWay does what an apply alone cannot: it takes away what strangers added,
// and gives up fields that are handed over.
func (r *run) makeWay(ctx context.Context, c mizzen.Change) error {
	if len(c.Strip) > 0 {
		if err := r.strip(ctx, c); err != nil {
			return err
		}
	}
	if len(c.Displace) > 0 {
		if err := r.displace(ctx, *c.Desired, c.UID, c.Displace); err != nil {
			return err
		}
	}
	if len(c.Release) > 0 {
		return r.release(ctx, *c.Desired, c.UID, c.Release)
	}
	return nil
}

// applySettling applies, and looks again for a while where the API server has
// not taken in yet what this very run did to the object's kind: a definition
// takes effect a moment after it is stored.
func (r *run) applySettling(ctx context.Context, c mizzen.Change) (res Result, err error) {
	_, fresh := r.definitions[c.Ref.GroupKind()]
	pause := firstLook
	for attempt := 0; ; attempt++ {
		res, err = r.apply(ctx, *c.Desired, ObjectOptions{UID: c.UID, Absent: c.Action == mizzen.Create, Whole: r.Whole})
		unsettled := err != nil && fresh && (apierrors.IsNotFound(err) || rejected(err))
		if !unsettled || attempt == attempts || !r.pause(ctx, pause) {
			return res, err
		}
		pause *= 2
	}
}

// rejected tells whether the API server found fault with the object itself.
func rejected(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	s := status.Status()
	return s.Code == http.StatusUnprocessableEntity || s.Code == http.StatusBadRequest || s.Code == http.StatusInternalServerError && malformed(s)
}

func isImmutable(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && immutable(status.Status()) && !uidMismatch(status.Status())
}

// irreplaceable are kinds whose deletion takes data or other objects along,
// which nobody means by Replace=true.
var irreplaceable = []schema.GroupKind{
	{Kind: "Namespace"}, definitionKind, {Kind: "PersistentVolume"}, {Kind: "PersistentVolumeClaim"},
}

// replace deletes an object and creates it again once it is gone.
func (r *run) replace(ctx context.Context, c mizzen.Change) (Result, error) {
	if slices.Contains(irreplaceable, c.Ref.GroupKind()) {
		return Result{}, &mizzen.Error{
			Kind: mizzen.Refused, Object: c.Ref.String(), Origin: c.Origin,
			Err:    fmt.Errorf("%w: a %s is never deleted to change it, since that would take data or other objects along", ErrImmutable, c.Ref.Kind),
			Remedy: "change it by hand",
		}
	}
	if c.UID != "" {
		uid, err := r.remove(ctx, c)
		if err != nil {
			return Result{}, err
		}
		if uid != "" {
			if err := r.waitGone(ctx, *c.Desired, uid); err != nil {
				return Result{}, err
			}
		}
	}
	return r.apply(ctx, *c.Desired, ObjectOptions{})
}

// removeChange carries out a Delete or Keep.
func (r *run) removeChange(ctx context.Context, c mizzen.Change, wait bool) (Result, error) {
	if c.Action == mizzen.Keep {
		return r.disown(ctx, c)
	}
	uid, err := r.remove(ctx, c)
	if err != nil || uid == "" || !wait {
		return Result{}, err
	}
	return Result{}, r.waitGone(ctx, named(c), uid)
}

// EnsureNamespace creates a namespace if it does not exist, without any mark
// of ours. It fails with an Error.
func (a *Applier) EnsureNamespace(ctx context.Context, name string) error {
	ns := named(mizzen.Change{APIVersion: "v1", Ref: mizzen.Ref{Kind: "Namespace", Name: name}})
	body, err := json.Marshal(ns.Object)
	if err != nil {
		return fmt.Errorf("namespace %s: encode: %w", name, err)
	}
	_, err = a.do(ctx, request{
		ref: ns.Ref(), method: http.MethodPost, path: "/api/v1/namespaces", query: url.Values{"fieldManager": {a.manager}},
		contentType: wholeObject, accept: metadataOnly, body: body,
	})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	if apierrors.IsForbidden(err) {
		// Who may not create namespaces may still use one that is there.
		if _, getErr := a.do(ctx, request{ref: ns.Ref(), method: http.MethodGet, path: "/api/v1/namespaces/" + url.PathEscape(name), accept: metadataOnly}); getErr == nil {
			return nil
		}
	}
	return a.explain(ns, ns.Ref(), err)
}
