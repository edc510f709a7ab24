package controller

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/crds"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/apply"
	"mizzen.dev/mizzen/internal/controller/application"
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
	if _, err := writer.Run(ctx, plan, apply.RunOptions{}); err != nil {
		return err
	}
	if err := admission(ctx, cluster, writer, log); err != nil {
		return err
	}
	return approval(ctx, writer, log)
}

// approval installs the policy that verifies who approves. Without it no
// Approval counts, and the gate of an Application that asks for one stays shut.
func approval(ctx context.Context, writer *apply.Applier, log *slog.Logger) error {
	plan, err := planOf(crds.Approval, "approval")
	if err != nil {
		return err
	}
	if _, err := writer.Run(ctx, plan, apply.RunOptions{}); err != nil && ctx.Err() == nil {
		log.Warn("the policy for approvals is not installed; no approval will count", "error", err)
	}
	return ctx.Err()
}

// admission installs the policies that save a request for each Application.
// Where the cluster has none, or refuses, the controller makes the requests.
func admission(ctx context.Context, cluster *live.Cluster, writer *apply.Applier, log *slog.Logger) error {
	plan, err := planOf(crds.Admission, "admission")
	if err != nil {
		return err
	}
	for _, c := range plan.Changes {
		if _, err := cluster.Resource(ctx, c.Desired.GroupVersionKind()); err != nil {
			log.Debug("no admission policy is installed", "error", err)
			return nil
		}
	}
	if _, err := writer.Run(ctx, plan, apply.RunOptions{}); err != nil {
		log.Warn("no admission policy is installed; the controller works without it", "error", err)
		return nil
	}
	return awaitAdmission(ctx, writer)
}

// admissionPatience bounds the wait for the API server to know a new policy.
const admissionPatience = 15 * time.Second

// awaitAdmission waits until the policy is in force. Right after it was created,
// the API server may know the policy but not yet the kind, and refuses every
// Application for some seconds; whoever is told that Mizzen is ready must not
// meet that.
func awaitAdmission(ctx context.Context, writer *apply.Applier) error {
	patient, cancel := context.WithTimeout(ctx, admissionPatience)
	defer cancel()
	probe := mizzen.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "Application",
		"metadata": map[string]any{"name": "mizzen-probe", "namespace": mizzen.SystemNamespace},
		"spec":     map[string]any{"source": map[string]any{"repository": "none"}},
	}}}
	_ = wait.PollUntilContextCancel(patient, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		answer, err := writer.DryRun(ctx, probe, nil)
		return err == nil && slices.Contains(answer.GetFinalizers(), application.Finalizer), nil
	})
	return ctx.Err() // if it never is, the controller adds the finalizers by itself
}

// installation is the Plan of what Mizzen needs in a cluster.
func installation() (*mizzen.Plan, error) {
	plan, err := planOf(crds.Files, ".")
	if err != nil {
		return nil, err
	}
	add(plan, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": mizzen.SystemNamespace},
	}})
	return plan, nil
}

// planOf is the Plan of applying every file of a directory.
func planOf(files fs.ReadDirFS, dir string) (*mizzen.Plan, error) {
	entries, err := files.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	plan := &mizzen.Plan{}
	for _, f := range entries {
		b, err := fs.ReadFile(files, path.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(b, &u.Object); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		add(plan, u)
	}
	return plan, nil
}

func add(plan *mizzen.Plan, u *unstructured.Unstructured) {
	plan.Changes = append(plan.Changes, mizzen.Change{
		Ref: mizzen.RefOf(u), APIVersion: u.GetAPIVersion(), Action: mizzen.Update, Desired: &mizzen.Object{Unstructured: u},
	})
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
