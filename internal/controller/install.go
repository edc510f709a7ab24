package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/crds"
	"mizzen.dev/mizzen/internal/apply"
	"mizzen.dev/mizzen/internal/diff"
	"mizzen.dev/mizzen/internal/live"
)

// install applies the namespace and the CRDs, and waits until they are served.
func install(ctx context.Context, config *rest.Config, log *slog.Logger) error {
	cluster, err := live.New(config, live.Options{})
	if err != nil {
		return err
	}
	if err := cluster.Reachable(ctx); err != nil {
		return err
	}
	writer, err := apply.New(config, apply.Options{
		Logger: log,
		Mapper: func(ctx context.Context, gvk schema.GroupVersionKind) (schema.GroupVersionResource, bool, error) {
			r, err := cluster.Resource(ctx, gvk)
			return r.GVR(), r.Namespaced, err
		},
	})
	if err != nil {
		return err
	}
	plan, err := installation()
	if err != nil {
		return err
	}
	_, err = writer.Run(ctx, plan, apply.RunOptions{})
	return err
}

// installation is the Plan of what Mizzen needs in a cluster.
func installation() (*mizzen.Plan, error) {
	objects := []*unstructured.Unstructured{{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": mizzen.SystemNamespace},
	}}}
	files, err := crds.Files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		b, err := crds.Files.ReadFile(f.Name())
		if err != nil {
			return nil, err
		}
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(b, &u.Object); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		objects = append(objects, u)
	}
	plan := &mizzen.Plan{}
	for _, u := range objects {
		plan.Changes = append(plan.Changes, mizzen.Change{
			Ref: mizzen.RefOf(u), APIVersion: u.GetAPIVersion(), Action: mizzen.Create, Desired: &mizzen.Object{Unstructured: u},
		})
	}
	return plan, nil
}

// planKeyName is the Secret whose key makes marks of secret values in plans.
// Whoever may read it can compute the same digests.
const planKeyName = "mizzen-plan-key"

// planKey returns the Masker of this cluster, and creates its key once.
func planKey(ctx context.Context, reader client.Reader, writer client.Client) (diff.Masker, error) {
	key := client.ObjectKey{Namespace: mizzen.SystemNamespace, Name: planKeyName}
	value, err := secretValue(ctx, reader, key, "key")
	if err == nil {
		return diff.NewMasker(value)
	}
	if mizzen.KindOf(err) != mizzen.NotFound {
		return diff.Masker{}, err
	}
	fresh := make([]byte, 32)
	if _, err := rand.Read(fresh); err != nil {
		return diff.Masker{}, err
	}
	err = writer.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, Data: map[string][]byte{"key": fresh},
	})
	if apierrors.IsAlreadyExists(err) {
		return planKey(ctx, reader, writer)
	}
	if err != nil {
		return diff.Masker{}, fmt.Errorf("create secret %s: %w", key, err)
	}
	return diff.NewMasker(fresh)
}

// ReadPlanKey returns the Masker of a cluster for somebody who may read its
// key. Others get one that hides values altogether, and ok is false.
func ReadPlanKey(ctx context.Context, reader client.Reader) (m diff.Masker, ok bool) {
	value, err := secretValue(ctx, reader, client.ObjectKey{Namespace: mizzen.SystemNamespace, Name: planKeyName}, "key")
	if err != nil {
		return diff.Masker{}, false
	}
	m, err = diff.NewMasker(value)
	return m, err == nil
}

func secretValue(ctx context.Context, reader client.Reader, key client.ObjectKey, field string) ([]byte, error) {
	var secret corev1.Secret
	if err := reader.Get(ctx, key, &secret); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, &mizzen.Error{Kind: mizzen.NotFound, Object: "secret " + key.String(), Err: errors.New("not found"), Remedy: "create it"}
		}
		return nil, fmt.Errorf("secret %s: %w", key, err)
	}
	value := secret.Data[field]
	if len(value) == 0 {
		return nil, &mizzen.Error{
			Kind: mizzen.Invalid, Object: "secret " + key.String(), Err: fmt.Errorf("it has no key %q", field), Remedy: "add it",
		}
	}
	return value, nil
}
