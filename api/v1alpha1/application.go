package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Application is a path of a Repository, how to render it, where it goes, and
// how it is kept in sync.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=app,categories=mizzen
// +kubebuilder:printcolumn:name="Synced",type=string,JSONPath=`.status.conditions[?(@.type=="Synced")].status`
// +kubebuilder:printcolumn:name="Healthy",type=string,JSONPath=`.status.conditions[?(@.type=="Healthy")].status`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.revision`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Application struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ApplicationSpec   `json:"spec"`
	Status ApplicationStatus `json:"status,omitempty"`
}

// ApplicationSpec is what should run.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.source.helm) && has(self.source.kustomize))",message="helm and kustomize options exclude each other"
type ApplicationSpec struct {
	Source ApplicationSource `json:"source"`

	// +optional
	Destination Destination `json:"destination,omitempty"`

	// +optional
	// +kubebuilder:default={}
	Sync SyncPolicy `json:"sync,omitempty"`

	// DependsOn names Applications of the same namespace that must be healthy
	// first, and at the same revision if they are of the same Repository.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	DependsOn []ApplicationReference `json:"dependsOn,omitempty"`

	// ServiceAccountName is the identity of every write, dry-run and prune: a
	// service account of the Application's own namespace.
	// +optional
	// +kubebuilder:default=default
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// Privileged uses the controller's own rights instead of a service
	// account. Only Applications in mizzen-system may; elsewhere the
	// Application is Stalled.
	// +optional
	Privileged bool `json:"privileged,omitempty"`

	// Suspend stops syncing and healing; status is still kept.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// Hold keeps the Application at a revision although Git is ahead. The
	// command line sets it; Git never does.
	// +optional
	Hold *Hold `json:"hold,omitempty"`

	// OnDelete says what becomes of the objects when the Application is
	// deleted: Cascade deletes them, Orphan leaves them running.
	// +optional
	// +kubebuilder:validation:Enum=Cascade;Orphan
	// +kubebuilder:default=Cascade
	OnDelete DeletionPolicy `json:"onDelete,omitempty"`
}

// ApplicationReference names an Application of the same namespace.
type ApplicationReference struct {
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
}

// DeletionPolicy says what becomes of objects when their Application goes.
type DeletionPolicy string

// The deletion policies.
const (
	Cascade DeletionPolicy = "Cascade"
	Orphan  DeletionPolicy = "Orphan"
)

// ApplicationSource is a path of a Repository and how to render it.
type ApplicationSource struct {
	// Repository names a Repository of the same namespace.
	// +kubebuilder:validation:MinLength=1
	Repository string `json:"repository"`
	// Path is a directory of the Repository; "." is its root.
	// +optional
	// +kubebuilder:default="."
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.split('/').exists(p, p == '..')",message="must be relative and stay within the repository"
	Path string `json:"path,omitempty"`
	// Revision overrides the Repository's: a branch, tag, commit or semver range.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Revision string `json:"revision,omitempty"`
	// Renderer is detected from the files unless it is named.
	// +optional
	// +kubebuilder:validation:Enum=Helm;Kustomize;Plain
	Renderer Renderer `json:"renderer,omitempty"`
	// +optional
	Helm *HelmOptions `json:"helm,omitempty"`
	// +optional
	Kustomize *KustomizeOptions `json:"kustomize,omitempty"`
}

// Renderer turns files into objects.
type Renderer string

// The renderers.
const (
	RendererHelm      Renderer = "Helm"
	RendererKustomize Renderer = "Kustomize"
	RendererPlain     Renderer = "Plain"
)

// HelmOptions are the options of a chart.
type HelmOptions struct {
	// ReleaseName defaults to the Application's name.
	// +optional
	// +kubebuilder:validation:MaxLength=53
	ReleaseName string `json:"releaseName,omitempty"`
	// ValuesFiles are read in order, later ones win; relative to the source's
	// path, or to the repository's root with a leading "/". Without any, the
	// chart's own values count alone.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	ValuesFiles []string `json:"valuesFiles,omitempty"`
	// Values win over the files.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	Values *runtime.RawExtension `json:"values,omitempty"`
	// SkipCRDs leaves out the objects of the chart's crds/ directory.
	// +optional
	SkipCRDs bool `json:"skipCRDs,omitempty"`
}

// KustomizeOptions are laid over the kustomization of the path.
type KustomizeOptions struct {
	// Images override image names and tags, as `kustomize edit set image` does:
	// name=newName:newTag, name:newTag or name=newName@digest.
	// +optional
	// +kubebuilder:validation:MaxItems=128
	Images []string `json:"images,omitempty"`
	// NamePrefix is put before the name of every object.
	// +optional
	NamePrefix string `json:"namePrefix,omitempty"`
}

// Destination is where objects go.
type Destination struct {
	// Cluster names a Cluster of the same namespace; empty is the cluster that
	// holds the Application.
	// +optional
	Cluster string `json:"cluster,omitempty"`
	// Namespace is for objects that name none. It defaults to the
	// Application's own.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// CreateNamespace creates the namespace if it does not exist. It is never
	// deleted by Mizzen.
	// +optional
	CreateNamespace bool `json:"createNamespace,omitempty"`
}

// SyncMode says who starts a sync.
type SyncMode string

// The sync modes.
const (
	// SyncAuto syncs every new revision.
	SyncAuto SyncMode = "Auto"
	// SyncManual waits for `mizzen sync`.
	SyncManual SyncMode = "Manual"
)

// Gate says what a new revision has to pass before it is synced.
type Gate string

// The gates.
const (
	// GateNone lets every revision pass.
	GateNone Gate = "None"
	// GateReport lets every revision pass, and says in the status what it does.
	GateReport Gate = "Report"
	// GatePolicy holds a revision that the policy of its repository does not
	// allow.
	GatePolicy Gate = "Policy"
)

// SyncPolicy says how the cluster is made to match.
type SyncPolicy struct {
	// +optional
	// +kubebuilder:validation:Enum=Auto;Manual
	// +kubebuilder:default=Auto
	Mode SyncMode `json:"mode,omitempty"`
	// Gate says what a new revision has to pass before it is synced: with
	// Policy, a revision whose Verdict is not allow waits for approval; with
	// Report, it is reviewed, and none waits. Empty is the default of the
	// controller, which is None unless it is told otherwise.
	// +optional
	// +kubebuilder:validation:Enum=None;Report;Policy
	Gate Gate `json:"gate,omitempty"`
	// Prune deletes objects that left Git.
	// +optional
	// +kubebuilder:default=true
	Prune *bool `json:"prune,omitempty"`
	// SelfHeal restores what drifted.
	// +optional
	// +kubebuilder:default=true
	SelfHeal *bool `json:"selfHeal,omitempty"`
	// AllowEmpty lets a revision that renders nothing delete everything.
	// +optional
	AllowEmpty bool `json:"allowEmpty,omitempty"`
	// DryRunCreates asks the API server about new objects too before the first
	// write; without it they are validated against its OpenAPI document.
	// +optional
	DryRunCreates bool `json:"dryRunCreates,omitempty"`
	// Timeout bounds a sync, waiting for its waves included.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="must be at least 1s"
	Timeout metav1.Duration `json:"timeout,omitzero"`
	// Exclusive lists further kinds ("Kind.group") whose spec nobody else may
	// add fields to; Istio, Gateway API, RBAC, NetworkPolicy and webhook
	// configurations always are.
	// +optional
	// +kubebuilder:validation:MaxItems=64
	Exclusive []string `json:"exclusive,omitempty"`
}

// Hold keeps an Application at a revision.
type Hold struct {
	// Revision is a full commit id; empty holds what is synced now.
	// +optional
	Revision string `json:"revision,omitempty"`
	// Reason is shown wherever the hold is.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Reason string `json:"reason,omitempty"`
	// By is who asked for it, as far as the command line knows.
	// +optional
	By string `json:"by,omitempty"`
}

// ApplicationStatus is what runs.
type ApplicationStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Revision is the commit that was last synced with success. An Application
	// that later commits do not touch keeps it.
	// +optional
	Revision string `json:"revision,omitempty"`
	// Attempted is the commit of the last sync, whatever became of it.
	// +optional
	Attempted string `json:"attempted,omitempty"`
	// HandledReconcile is the last value of the annotation mizzen.dev/reconcile
	// that was acted upon.
	// +optional
	HandledReconcile string `json:"handledReconcile,omitempty"`
	// PlanDigest is that of the last Plan that was carried out.
	// +optional
	PlanDigest string `json:"planDigest,omitempty"`
	// RenderKey is a hash over everything the last render consulted.
	// +optional
	RenderKey string `json:"renderKey,omitempty"`
	// Health is the worst of the objects'.
	// +optional
	Health string `json:"health,omitempty"`
	// Findings counts those of the last Plan, by severity; the first ones in
	// words.
	// +optional
	// +listType=atomic
	Findings []string `json:"findings,omitempty"`
	// History is the last 20 syncs, the newest first.
	// +optional
	// +listType=atomic
	History []SyncRecord `json:"history,omitempty"`
	// Review is what the gate says of the newest revision that changes
	// anything; there is none with the gate None.
	// +optional
	Review *ReviewStatus `json:"review,omitempty"`
	// Inventory is what Mizzen applied for this Application.
	// +optional
	Inventory InventoryStatus `json:"inventory,omitempty"`
	// Conditions are sorted by type.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// SyncResult is how a sync ended.
type SyncResult string

// The results of a sync.
const (
	SyncSucceeded SyncResult = "Succeeded"
	SyncFailed    SyncResult = "Failed"
)

// SyncRecord is one sync.
type SyncRecord struct {
	Revision string `json:"revision"`
	// +optional
	Author string `json:"author,omitempty"`
	// Subject is the first line of the commit message, at most 200 bytes.
	// +optional
	Subject string     `json:"subject,omitempty"`
	Result  SyncResult `json:"result"`
	// Message says what was done, or why it failed.
	// +optional
	Message string `json:"message,omitempty"`
	// Counts says how many objects were changed, and how.
	// +optional
	Counts SyncCounts `json:"counts,omitzero"`
	// Changes names the first objects that were changed, such as
	// "update apps/Deployment shop/web: spec.replicas 2 → 3".
	// +optional
	// +listType=atomic
	Changes []string    `json:"changes,omitempty"`
	Started metav1.Time `json:"started"`
	// Milliseconds is how long the sync took.
	Milliseconds int64 `json:"milliseconds"`
	// Trace is the id of the OpenTelemetry trace, if there is one.
	// +optional
	Trace string `json:"trace,omitempty"`
	// Note is set for what is not a plain sync: "held", "approved by USER", or
	// "rewritten A..B" after a forced push.
	// +optional
	Note string `json:"note,omitempty"`
}

// SyncCounts counts the objects of a sync by what became of them.
type SyncCounts struct {
	// +optional
	Created int `json:"created,omitempty"`
	// +optional
	Updated int `json:"updated,omitempty"`
	// +optional
	Deleted int `json:"deleted,omitempty"`
	// Kept objects left Git and were let go, not deleted.
	// +optional
	Kept int `json:"kept,omitempty"`
	// Skipped objects were left out, as the findings say.
	// +optional
	Skipped int `json:"skipped,omitempty"`
	// +optional
	Unchanged int `json:"unchanged,omitempty"`
}

// ApplicationList is a list of Applications.
//
// +kubebuilder:object:root=true
type ApplicationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Application `json:"items"`
}
