package mizzen

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ApplyPolicy says how an object is applied.
type ApplyPolicy string

// The apply policies. They are those of Flux's annotation ssa; the default
// restores every field that Git names.
const (
	// ApplyDefault: Git wins over every field that it names.
	ApplyDefault ApplyPolicy = ""
	// ApplyMerge: as ApplyDefault, and fields that others add are left alone
	// even where the kind is exclusive.
	ApplyMerge ApplyPolicy = "Merge"
	// ApplyIfNotPresent: created once, never changed afterwards.
	ApplyIfNotPresent ApplyPolicy = "IfNotPresent"
	// ApplyIgnore: left out of syncs altogether.
	ApplyIgnore ApplyPolicy = "Ignore"
)

// SyncOptions is what an object asks about its own syncing, by annotations.
// The zero value is what an object without annotations gets.
type SyncOptions struct {
	// Wave orders objects within a sync; lower waves come first.
	Wave int
	// KeepOnPrune: the object stays when it leaves Git.
	KeepOnPrune bool
	// KeepOnDelete: the object stays when its Application is deleted.
	KeepOnDelete bool
	// SkipValidation: neither the local schemas nor the API server's strict
	// field validation judge the object.
	SkipValidation bool
	// SkipMissingCRD: a kind that the cluster does not know is no problem.
	SkipMissingCRD bool
	// Replace: where the API server refuses to change a field in place, the
	// object is deleted and created again.
	Replace bool
	// CreateNamespace: the object's namespace is created if it is not there.
	CreateNamespace bool
	// Foreground: when deleted, the object goes after its dependents.
	Foreground bool
	// Policy says how the object is applied.
	Policy ApplyPolicy
}

// Annotations of other tools that carry sync options. People who come from
// these tools have them in Git already.
const (
	argoWave     = "argocd.argoproj.io/sync-wave"
	argoOptions  = "argocd.argoproj.io/sync-options"
	helmPolicy   = "helm.sh/resource-policy"
	fluxPrune    = "kustomize.toolkit.fluxcd.io/prune"
	fluxApply    = "kustomize.toolkit.fluxcd.io/ssa"
	fluxRecreate = "kustomize.toolkit.fluxcd.io/force"
)

// syncOptions maps "Name=value" to its effect.
var syncOptions = map[string]func(*SyncOptions){
	"Prune=false":                       func(o *SyncOptions) { o.KeepOnPrune = true },
	"Prune=confirm":                     func(o *SyncOptions) { o.KeepOnPrune = true },
	"Delete=false":                      func(o *SyncOptions) { o.KeepOnDelete = true },
	"Delete=confirm":                    func(o *SyncOptions) { o.KeepOnDelete = true },
	"Validate=false":                    func(o *SyncOptions) { o.SkipValidation = true },
	"SkipDryRunOnMissingResource=true":  func(o *SyncOptions) { o.SkipMissingCRD = true },
	"Replace=true":                      func(o *SyncOptions) { o.Replace = true },
	"Force=true":                        func(o *SyncOptions) { o.Replace = true },
	"CreateNamespace=true":              func(o *SyncOptions) { o.CreateNamespace = true },
	"PrunePropagationPolicy=foreground": func(o *SyncOptions) { o.Foreground = true },
}

// harmlessOptions are known and change nothing, whatever their value: every
// apply is a server-side one, and pruning always comes last. The rest is known
// with the value that is the default anyway.
var harmlessOptions = []string{
	"ServerSideApply", "PruneLast", "ApplyOutOfSyncOnly", "RespectIgnoreDifferences",
	"FailOnSharedResource", "ClientSideApplyMigration",
	"Prune=true", "Delete=true", "Validate=true", "SkipDryRunOnMissingResource=false", "Replace=false",
	"Force=false", "CreateNamespace=false", "PrunePropagationPolicy=background",
}

// OptionsOf reads the sync options of an object from its annotations: our own,
// Argo CD's, Flux's and Helm's resource policy; our own sync wave wins over
// Argo CD's. The messages say what could not be understood; the options then
// are those of the parts that could.
func OptionsOf(u *unstructured.Unstructured) (o SyncOptions, problems []string) {
	return OptionsOfAnnotations(rawAnnotations(u))
}

// OptionsOfAnnotations is OptionsOf for an object whose metadata is at hand.
func OptionsOfAnnotations(annotations map[string]string) (o SyncOptions, problems []string) {
	if len(annotations) == 0 {
		return o, nil
	}
	for _, key := range []string{argoOptions, AnnotationSyncOptions} {
		problems = append(problems, o.parseList(key, annotations[key])...)
	}
	for _, key := range []string{argoWave, AnnotationSyncWave} {
		value := strings.TrimSpace(annotations[key])
		if value == "" {
			continue
		}
		wave, err := strconv.Atoi(value)
		if err != nil {
			problems = append(problems, fmt.Sprintf("annotation %s is %q, not a whole number", key, value))
			continue
		}
		o.Wave = wave
	}
	if annotations[helmPolicy] == "keep" || annotations[fluxPrune] == "disabled" {
		o.KeepOnPrune, o.KeepOnDelete = true, true
	}
	if v := annotations[fluxRecreate]; v == "enabled" || v == "Enabled" {
		o.Replace = true
	}
	return o, append(problems, o.parsePolicy(annotations[fluxApply])...)
}

func (o *SyncOptions) parseList(key, list string) (problems []string) {
	for option := range strings.SplitSeq(list, ",") {
		option = strings.TrimSpace(option)
		name, _, _ := strings.Cut(option, "=")
		switch effect := syncOptions[option]; {
		case option == "" || slices.Contains(harmlessOptions, option) || slices.Contains(harmlessOptions, name):
		case effect != nil:
			effect(o)
		default:
			problems = append(problems, fmt.Sprintf("annotation %s names the unknown option %q", key, option))
		}
	}
	return problems
}

func (o *SyncOptions) parsePolicy(value string) (problems []string) {
	switch policy := ApplyPolicy(value); policy {
	case ApplyDefault, "Override":
	case ApplyMerge, ApplyIfNotPresent, ApplyIgnore:
		o.Policy = policy
	default:
		return []string{fmt.Sprintf("annotation %s is %q, not Override, Merge, IfNotPresent or Ignore", fluxApply, value)}
	}
	return nil
}

// rawAnnotations reads annotations without failing as a whole when one value
// is not a string, which YAML makes easy: "true" and "5" need quotes.
func rawAnnotations(u *unstructured.Unstructured) map[string]string {
	metadata, _ := u.Object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	out := make(map[string]string, len(annotations))
	for k, v := range annotations {
		if s, ok := v.(string); ok {
			out[k] = s
		}
	}
	return out
}
