package apply

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
)

// Pauses between two looks at something that is waited for.
const (
	firstLook = 20 * time.Millisecond
	lastLook  = time.Second
)

// poll calls look until it is satisfied or fails, with growing pauses. If the
// deadline of ctx comes first, done is false and err is nil.
func (a *Applier) poll(ctx context.Context, look func() (bool, error)) (done bool, err error) {
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		done, err := look()
		if done || err != nil && ctx.Err() == nil {
			return done, err
		}
		if a.pause(ctx, pause) {
			continue
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return false, ctx.Err()
		}
		return false, nil
	}
}

// waitGone waits until an object of the given UID does not exist any more.
func (a *Applier) waitGone(ctx context.Context, obj mizzen.Object, uid string) error {
	var finalizers []string
	gone, err := a.poll(ctx, func() (bool, error) {
		u, err := a.metadata(ctx, obj)
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		finalizers = u.GetFinalizers()
		return string(u.GetUID()) != uid, nil
	})
	if gone || err != nil {
		return err
	}
	cause := errors.New("the object is being deleted and does not go away")
	if len(finalizers) > 0 {
		cause = fmt.Errorf("the object is being deleted and waits for its finalizers: %s", strings.Join(finalizers, ", "))
	}
	return &mizzen.Error{
		Kind: mizzen.Timeout, Object: obj.Ref().String(), Origin: obj.Origins.Object, Err: cause,
		Remedy: "look at the controller that owns the finalizer, or wait for the object's pods to end",
	}
}

// waitServed waits until the API server serves every version of the kinds that
// a definition brings. Discovery lists a version only once its definition is
// established, and everybody may read it.
func (a *Applier) waitServed(ctx context.Context, crd mizzen.Object) error {
	d := definitionOf(crd)
	served, err := a.poll(ctx, func() (bool, error) {
		for _, version := range d.versions {
			ok, err := a.serves(ctx, crd.Ref(), d, version)
			if !ok || err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if served || err != nil {
		return err
	}
	return &mizzen.Error{
		Kind: mizzen.Timeout, Object: crd.Ref().String(), Origin: crd.Origins.Object,
		Err:    fmt.Errorf("the API server does not serve %s", d.kind),
		Remedy: "look at the conditions Established and NamesAccepted of the definition: another one may have the name already",
	}
}

func (a *Applier) serves(ctx context.Context, ref mizzen.Ref, d definition, version string) (bool, error) {
	got, err := a.do(ctx, request{ref: ref, method: http.MethodGet, path: "/apis/" + d.kind.Group + "/" + version, accept: wholeObject})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(got.body, &list); err != nil {
		return false, fmt.Errorf("read the answer: %w", err)
	}
	return slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Name == d.plural }), nil
}

// definition is what a CustomResourceDefinition says about URLs.
type definition struct {
	kind       schema.GroupKind
	plural     string
	namespaced bool
	versions   []string
}

var definitionKind = schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}

func definitionOf(crd mizzen.Object) definition {
	spec, _ := crd.Object["spec"].(map[string]any)
	names, _ := spec["names"].(map[string]any)
	var d definition
	d.kind.Group, _ = spec["group"].(string)
	d.kind.Kind, _ = names["kind"].(string)
	d.plural, _ = names["plural"].(string)
	d.namespaced = spec["scope"] == "Namespaced"
	versions, _ := spec["versions"].([]any)
	for _, item := range versions {
		v, _ := item.(map[string]any)
		if name, ok := v["name"].(string); ok && v["served"] == true {
			d.versions = append(d.versions, name)
		}
	}
	return d
}
