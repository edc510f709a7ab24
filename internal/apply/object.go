package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
)

// Result is what an object is after it was applied.
type Result struct {
	UID             string
	ResourceVersion string
	// ManagedFields say who owns which field now, us included.
	ManagedFields []metav1.ManagedFieldsEntry
	// Created is set if the object did not exist.
	Created bool
	// Object is the whole object, if ObjectOptions.Whole asked for it.
	Object *unstructured.Unstructured
}

// ObjectOptions says what is known about the live object.
type ObjectOptions struct {
	// UID of the object that was judged; if the live one has another, nothing
	// is written and the error is ErrStale. Empty: any.
	UID string
	// Force takes fields from other managers right away. Without it the API
	// server is first asked to refuse; then fields that a known controller
	// took over are left out, and the others are taken.
	Force bool
	// Absent says that there was no such object when it was judged: if others
	// own fields of one by now, nothing is written and the error is ErrStale.
	Absent bool
	// Whole asks for the object as it is stored, not for its metadata alone.
	Whole bool
}

// DryRun asks the API server what it would store if obj were applied over
// live, nil if there is none. Fields that are handed over (see Settle) are
// treated as Apply treats them.
//
// The error is an Error: Invalid or Forbidden if the API server refuses the
// object, ErrImmutable if it cannot be changed in place, NotFound if the kind
// or the namespace does not exist, Unreachable if there is no answer.
func (a *Applier) DryRun(ctx context.Context, obj mizzen.Object, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	ref := obj.Ref()
	settled := Settle(obj, live, a.manager)
	sent := settled.withReleased(live)
	body, err := json.Marshal(sent.Object)
	if err != nil {
		return nil, fmt.Errorf("%s: encode: %w", ref, err)
	}
	r, err := a.applyRequest(ctx, sent, body, true)
	if err != nil {
		return nil, a.explain(obj, ref, err)
	}
	r.query.Set("dryRun", metav1.DryRunAll)
	r.accept = wholeObject
	got, err := a.do(ctx, r)
	if err != nil {
		return nil, a.explain(obj, ref, err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(got.body); err != nil {
		return nil, a.explain(obj, ref, fmt.Errorf("read the answer: %w", err))
	}
	return u, nil
}

// Apply makes one object what Git says, by server-side apply. Errors are those
// of DryRun, and ErrStale.
func (a *Applier) Apply(ctx context.Context, obj mizzen.Object, o ObjectOptions) (Result, error) {
	res, err := a.apply(ctx, obj, o)
	return res, a.explain(obj, obj.Ref(), err)
}

func (a *Applier) apply(ctx context.Context, obj mizzen.Object, o ObjectOptions) (Result, error) {
	res, deleting, err := a.patch(ctx, obj, o)
	if taken(err) && o.Absent {
		return Result{}, fmt.Errorf("%w: it was not there when it was judged, and others own fields of it now: %w", ErrStale, err)
	}
	if taken(err) && !o.Force {
		current, getErr := a.metadata(ctx, obj)
		if getErr != nil {
			return Result{}, getErr
		}
		obj = Settle(obj, current, a.manager).Object
		o.Force = true
		res, deleting, err = a.patch(ctx, obj, o)
	}
	if err != nil || !deleting {
		return res, err
	}
	// Somebody deleted the object while it was applied, or a finalizer still
	// holds an earlier deletion: what was applied is about to vanish.
	if err := a.waitGone(ctx, obj, res.UID); err != nil {
		return Result{}, err
	}
	o.UID = ""
	res, _, err = a.patch(ctx, obj, o)
	return res, err
}

// taken tells whether fields belong to other managers.
func taken(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && hasCause(status.Status(), metav1.CauseTypeFieldManagerConflict)
}

// patch sends one server-side apply. deleting is set if the object is on its
// way out.
func (a *Applier) patch(ctx context.Context, obj mizzen.Object, o ObjectOptions) (res Result, deleting bool, err error) {
	body, err := encode(obj, o.UID)
	if err != nil {
		return res, false, err
	}
	r, err := a.applyRequest(ctx, obj, body, o.Force)
	if err != nil {
		return res, false, err
	}
	if o.Whole {
		r.accept = wholeObject
	}
	got, err := a.do(ctx, r)
	if err != nil {
		return res, false, err
	}
	res, deleting, err = decodeResult(got)
	if o.Whole && err == nil {
		res.Object = &unstructured.Unstructured{}
		err = res.Object.UnmarshalJSON(got.body)
	}
	return res, deleting, err
}

// decodeResult reads an answer in the form of PartialObjectMetadata.
func decodeResult(got answer) (res Result, deleting bool, err error) {
	var m metav1.PartialObjectMetadata
	if err := json.Unmarshal(got.body, &m); err != nil {
		return res, false, fmt.Errorf("read the answer: %w", err)
	}
	res = Result{
		UID: string(m.UID), ResourceVersion: m.ResourceVersion, ManagedFields: m.ManagedFields,
		Created: got.status == http.StatusCreated,
	}
	return res, m.DeletionTimestamp != nil, nil
}

func (a *Applier) applyRequest(ctx context.Context, obj mizzen.Object, body []byte, force bool) (request, error) {
	res, err := a.resourceFor(ctx, obj.GroupVersionKind())
	if err != nil {
		return request{}, err
	}
	query := url.Values{"fieldManager": {a.manager}, "fieldValidation": {metav1.FieldValidationStrict}}
	if options, _ := mizzen.OptionsOf(obj.Unstructured); options.SkipValidation {
		query.Set("fieldValidation", metav1.FieldValidationIgnore)
	}
	if force {
		query.Set("force", "true")
	}
	return request{
		ref: obj.Ref(), method: http.MethodPatch, path: res.path(obj.GetNamespace(), obj.GetName()), query: query,
		contentType: applyType, accept: metadataOnly, body: body,
	}, nil
}

// encode returns the object as JSON, with the UID that it must have.
func encode(obj mizzen.Object, uid string) ([]byte, error) {
	content := obj.Object
	if uid != "" {
		metadata, _ := content["metadata"].(map[string]any)
		metadata = maps.Clone(metadata)
		metadata["uid"] = uid
		content = maps.Clone(content)
		content["metadata"] = metadata
	}
	return json.Marshal(content)
}

// metadata reads the metadata of the live object.
func (a *Applier) metadata(ctx context.Context, obj mizzen.Object) (*unstructured.Unstructured, error) {
	return a.get(ctx, obj, metadataOnly)
}

func (a *Applier) get(ctx context.Context, obj mizzen.Object, accept string) (*unstructured.Unstructured, error) {
	res, err := a.resourceFor(ctx, obj.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	got, err := a.do(ctx, request{
		ref: obj.Ref(), method: http.MethodGet, path: res.path(obj.GetNamespace(), obj.GetName()), accept: accept,
	})
	if err != nil {
		return nil, err
	}
	u := &unstructured.Unstructured{}
	return u, u.UnmarshalJSON(got.body)
}

// named returns an object that is nothing but its identity, for requests about
// objects that left Git.
func named(c mizzen.Change) mizzen.Object {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetAPIVersion(c.APIVersion)
	u.SetKind(c.Ref.Kind)
	u.SetNamespace(c.Ref.Namespace)
	u.SetName(c.Ref.Name)
	return mizzen.Object{Unstructured: u, Origins: mizzen.Origins{Object: c.Origin}}
}
