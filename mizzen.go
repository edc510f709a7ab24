// Package mizzen is the vocabulary of GitOps for the service mesh: the plain
// values that the stages of the pipeline hand to each other.
//
// A Snapshot of a Repository is rendered into Objects; Objects beside a cluster
// become Changes; Changes and Findings make a Plan; a Sync carries a Plan out.
// Nothing here does I/O, and nothing here knows a Kubernetes client, so every
// stage may import this package and no stage needs to import another.
package mizzen

// Names that Mizzen writes into clusters. They are part of the user interface:
// people select by them, so they never change.
const (
	// Group is the API group of Mizzen's own kinds.
	Group = "mizzen.dev"
	// SystemNamespace is where a controller lives, and the only namespace
	// whose Applications may be privileged.
	SystemNamespace = "mizzen-system"

	// LabelManaged marks every applied object with the installation that
	// applied it. It is what the metadata watches select by.
	LabelManaged = "mizzen.dev/managed"
	// AnnotationOwner names the owning Application, as namespace/name.
	AnnotationOwner = "mizzen.dev/owner"
	// AnnotationIdentity repeats the object's own identity (Ref.String), so
	// that a copy which carries the labels along is not taken for the original.
	AnnotationIdentity = "mizzen.dev/identity"

	// AnnotationSyncWave orders an object within a sync; lower waves first.
	AnnotationSyncWave = "mizzen.dev/sync-wave"
	// AnnotationSyncOptions is a comma-separated list of sync options such as
	// Prune=false.
	AnnotationSyncOptions = "mizzen.dev/sync-options"
	// AnnotationLintIgnore silences Findings about the object: "CODE: reason",
	// several separated by semicolons.
	AnnotationLintIgnore = "mizzen.dev/lint-ignore"
	// AnnotationReconcile asks for a reconcile now; any new value triggers.
	AnnotationReconcile = "mizzen.dev/reconcile"
	// AnnotationSync allows an Application whose sync mode is Manual to carry
	// out the plan of this digest.
	AnnotationSync = "mizzen.dev/sync"
)

// DefaultInstallation is the id of an installation that was given none.
const DefaultInstallation = "default"

// Manager returns the field manager of an installation. Managers of different
// installations differ, so that two of them never silently share fields.
func Manager(installation string) string {
	if installation == "" || installation == DefaultInstallation {
		return "mizzen"
	}
	return "mizzen-" + installation
}

// Name identifies one of Mizzen's own namespaced objects.
type Name struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String returns namespace/name, the form of AnnotationOwner.
func (n Name) String() string { return n.Namespace + "/" + n.Name }
