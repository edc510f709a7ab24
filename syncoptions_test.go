package mizzen

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func annotated(annotations map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"annotations": annotations}}}
}

func TestOptionsOf(t *testing.T) {
	cases := map[string]struct {
		annotations map[string]any
		want        SyncOptions
		problems    int
	}{
		"none":          {nil, SyncOptions{}, 0},
		"Argo CD":       {map[string]any{"argocd.argoproj.io/sync-wave": "-5", "argocd.argoproj.io/sync-options": "Prune=false, Replace=true,ServerSideApply=false"}, SyncOptions{Wave: -5, KeepOnPrune: true, Replace: true}, 0},
		"ours wins":     {map[string]any{"argocd.argoproj.io/sync-wave": "1", "mizzen.dev/sync-wave": "2"}, SyncOptions{Wave: 2}, 0},
		"both lists":    {map[string]any{"argocd.argoproj.io/sync-options": "Delete=false", "mizzen.dev/sync-options": "Validate=false,CreateNamespace=true"}, SyncOptions{KeepOnDelete: true, SkipValidation: true, CreateNamespace: true}, 0},
		"confirm":       {map[string]any{"argocd.argoproj.io/sync-options": "Prune=confirm,Delete=confirm"}, SyncOptions{KeepOnPrune: true, KeepOnDelete: true}, 0},
		"missing CRD":   {map[string]any{"argocd.argoproj.io/sync-options": "SkipDryRunOnMissingResource=true,PrunePropagationPolicy=foreground"}, SyncOptions{SkipMissingCRD: true, Foreground: true}, 0},
		"Flux":          {map[string]any{"kustomize.toolkit.fluxcd.io/prune": "disabled", "kustomize.toolkit.fluxcd.io/ssa": "IfNotPresent", "kustomize.toolkit.fluxcd.io/force": "enabled"}, SyncOptions{KeepOnPrune: true, KeepOnDelete: true, Policy: ApplyIfNotPresent, Replace: true}, 0},
		"Flux override": {map[string]any{"kustomize.toolkit.fluxcd.io/ssa": "Override"}, SyncOptions{}, 0},
		"Helm":          {map[string]any{"helm.sh/resource-policy": "keep"}, SyncOptions{KeepOnPrune: true, KeepOnDelete: true}, 0},
		"nonsense":      {map[string]any{"argocd.argoproj.io/sync-options": "Prune=maybe,Other", "mizzen.dev/sync-wave": "1.5", "kustomize.toolkit.fluxcd.io/ssa": "No"}, SyncOptions{}, 4},
		"not strings":   {map[string]any{"mizzen.dev/sync-wave": int64(3), "x": nil}, SyncOptions{}, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, problems := OptionsOf(annotated(c.annotations))
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
			if len(problems) != c.problems {
				t.Errorf("problems: %q", problems)
			}
		})
	}
	if got, _ := OptionsOf(&unstructured.Unstructured{}); got != (SyncOptions{}) {
		t.Errorf("empty object: %+v", got)
	}
}
