package apply

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"mizzen.dev/mizzen"
)

// remove deletes the object that the Change names, and no other one of the
// same name. An object that is gone already is no error. uid is that of an
// object that finalizers still hold; "" if it is gone.
func (a *Applier) remove(ctx context.Context, c mizzen.Change) (uid string, err error) {
	obj := named(c)
	if c.UID == "" {
		return "", &mizzen.Error{Kind: mizzen.Internal, Object: c.Ref.String(), Err: errors.New("delete without the UID that was judged")}
	}
	res, err := a.resourceFor(ctx, obj.GroupVersionKind())
	if mizzen.KindOf(err) == mizzen.NotFound {
		return "", nil // the kind is gone, and its objects with it
	}
	if err != nil {
		return "", err
	}
	policy := metav1.DeletePropagationBackground
	if c.Options.Foreground {
		policy = metav1.DeletePropagationForeground
	}
	body, err := json.Marshal(metav1.DeleteOptions{
		TypeMeta:      metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"},
		Preconditions: metav1.NewUIDPreconditions(c.UID), PropagationPolicy: &policy,
	})
	if err != nil {
		return "", err
	}
	got, err := a.do(ctx, request{
		ref: c.Ref, method: http.MethodDelete, path: res.path(c.Ref.Namespace, c.Ref.Name),
		contentType: wholeObject, accept: metadataOnly, body: body,
	})
	var m metav1.PartialObjectMetadata
	switch {
	case apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", err
	case json.Unmarshal(got.body, &m) == nil && m.DeletionTimestamp != nil:
		return c.UID, nil
	}
	return "", nil
}

// disown takes our marks and our ownership of fields off an object and leaves
// all else as it is: an empty apply would remove the fields.
func (a *Applier) disown(ctx context.Context, c mizzen.Change) (Result, error) {
	return a.rewrite(ctx, named(c), c.UID, func(u *unstructured.Unstructured) map[string]any {
		return map[string]any{
			"labels":        map[string]any{mizzen.LabelManaged: nil},
			"annotations":   map[string]any{mizzen.AnnotationOwner: nil, mizzen.AnnotationIdentity: nil},
			"managedFields": a.otherEntries(u, nil),
		}
	})
}

// release gives up the ownership of fields, which then keep their value when
// an apply leaves them out.
func (a *Applier) release(ctx context.Context, obj mizzen.Object, uid string, paths []mizzen.Path) error {
	_, err := a.rewrite(ctx, obj, uid, func(u *unstructured.Unstructured) map[string]any {
		return map[string]any{"managedFields": a.otherEntries(u, paths)}
	})
	return err
}

// displace takes over the list elements of strangers, so that the apply that
// follows, which does not name them, takes them away.
func (a *Applier) displace(ctx context.Context, obj mizzen.Object, uid string, paths []mizzen.Path) error {
	_, err := a.rewrite(ctx, obj, uid, func(u *unstructured.Unstructured) map[string]any {
		return map[string]any{"managedFields": a.takeOver(u, paths)}
	})
	return err
}

// takeOver returns managedFields in which our entry owns the given fields, and
// nobody else does.
func (a *Applier) takeOver(u *unstructured.Unstructured, paths []mizzen.Path) []metav1.ManagedFieldsEntry {
	var entries []metav1.ManagedFieldsEntry
	var own mizzen.Ownership
	at := -1
	for _, entry := range u.GetManagedFields() {
		if o, ok := mizzen.OwnershipOf(entry); ok && ours(o, a.manager) {
			own, at = o, len(entries)
			entries = append(entries, entry)
		}
	}
	if at < 0 {
		return u.GetManagedFields()
	}
	for _, entry := range u.GetManagedFields() {
		o, ok := mizzen.OwnershipOf(entry)
		if ok && ours(o, a.manager) {
			continue
		}
		if ok && entry.Subresource == "" {
			own = own.With(o, u, paths...)
			if entry.FieldsV1 = o.Without(u, paths...).FieldsV1(); entry.FieldsV1 == nil {
				continue
			}
		}
		entries = append(entries, entry)
	}
	entries[at].FieldsV1 = own.FieldsV1()
	return entries
}

// otherEntries returns managedFields without our entry, or with our entry
// reduced by the given fields.
func (a *Applier) otherEntries(u *unstructured.Unstructured, release []mizzen.Path) []metav1.ManagedFieldsEntry {
	var entries []metav1.ManagedFieldsEntry
	for _, entry := range u.GetManagedFields() {
		o, ok := mizzen.OwnershipOf(entry)
		if ok && ours(o, a.manager) {
			entry.FieldsV1 = o.Without(u, release...).FieldsV1()
			if len(release) == 0 || entry.FieldsV1 == nil {
				continue
			}
		}
		entries = append(entries, entry)
	}
	if len(entries) == 0 {
		// The API server takes an empty list for a client that knows nothing
		// of managedFields, and an empty entry for the wish to clear them.
		entries = []metav1.ManagedFieldsEntry{{}}
	}
	return entries
}

// rewrite changes metadata by what change makes of the live object, which is
// read again if somebody writes it in between.
func (a *Applier) rewrite(ctx context.Context, obj mizzen.Object, uid string, change func(*unstructured.Unstructured) map[string]any) (Result, error) {
	res, err := a.resourceFor(ctx, obj.GroupVersionKind())
	if err != nil {
		return Result{}, err
	}
	for attempt := 1; ; attempt++ {
		live, err := a.get(ctx, obj, wholeObject)
		if apierrors.IsNotFound(err) {
			return Result{}, nil
		}
		if err != nil {
			return Result{}, err
		}
		metadata := change(live)
		metadata["resourceVersion"] = live.GetResourceVersion()
		metadata["uid"] = cmp.Or(uid, string(live.GetUID()))
		body, err := json.Marshal(map[string]any{"metadata": metadata})
		if err != nil {
			return Result{}, err
		}
		got, _, err := a.once(ctx, request{
			ref: obj.Ref(), method: http.MethodPatch, path: res.path(obj.GetNamespace(), obj.GetName()),
			query: url.Values{"fieldManager": {a.manager}}, contentType: string(types.MergePatchType), accept: metadataOnly, body: body,
		})
		if err == nil {
			result, _, err := decodeResult(got)
			return result, err
		}
		if attempt == attempts || !retriable(http.MethodPatch, err) || !a.pause(ctx, firstPause) {
			return Result{}, err
		}
	}
}

// strip removes fields that strangers added, if they still have the value that
// the Plan shows.
func (a *Applier) strip(ctx context.Context, c mizzen.Change) error {
	res, err := a.resourceFor(ctx, c.Desired.GroupVersionKind())
	if err != nil {
		return err
	}
	shown := make(map[mizzen.Path]any, len(c.Fields))
	for _, f := range c.Fields {
		shown[f.Path] = f.Before
	}
	var ops []map[string]any
	if c.UID != "" {
		ops = append(ops, map[string]any{"op": "test", "path": "/metadata/uid", "value": c.UID})
	}
	paths := slices.SortedFunc(slices.Values(c.Strip), mizzen.ComparePaths)
	for _, p := range slices.Backward(paths) {
		pointer := jsonPointer(p)
		if before := shown[p]; before != nil { // that of a Secret is not shown
			ops = append(ops, map[string]any{"op": "test", "path": pointer, "value": before})
		}
		ops = append(ops, map[string]any{"op": "remove", "path": pointer})
	}
	body, err := json.Marshal(ops)
	if err != nil {
		return err
	}
	_, err = a.do(ctx, request{
		ref: c.Ref, method: http.MethodPatch, path: res.path(c.Ref.Namespace, c.Ref.Name),
		query: url.Values{"fieldManager": {a.manager}}, contentType: string(types.JSONPatchType), accept: metadataOnly, body: body,
	})
	if apierrors.IsInvalid(err) {
		// A failed test of a JSON patch says no more than that.
		return &mizzen.Error{Kind: mizzen.Conflict, Object: c.Ref.String(), Origin: c.Origin, Err: fmt.Errorf("%w: %w", ErrStale, err), Remedy: "plan again"}
	}
	return err
}

// jsonPointer writes a path in the form of RFC 6901.
func jsonPointer(p mizzen.Path) string {
	var b strings.Builder
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	for _, step := range p.Steps() {
		b.WriteByte('/')
		if step.Index >= 0 {
			fmt.Fprint(&b, step.Index)
			continue
		}
		b.WriteString(escape.Replace(step.Key))
	}
	return b.String()
}
