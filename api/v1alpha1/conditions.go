package v1alpha1

// Types of conditions. Ready, Reconciling and Stalled mean what kstatus reads
// in them; every kind of this group carries Ready.
const (
	// ConditionReady is True when the object is in its desired state; for an
	// Application: synced and healthy. It is Unknown while that cannot be told.
	ConditionReady = "Ready"
	// ConditionReconciling is True while work is under way.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when no retry can help: somebody must act.
	ConditionStalled = "Stalled"
	// ConditionSynced is True when the cluster holds what the revision says.
	ConditionSynced = "Synced"
	// ConditionHealthy is True when every object is up.
	ConditionHealthy = "Healthy"
	// ConditionFighting is True while another field manager keeps undoing
	// what Mizzen restores; the message names it.
	ConditionFighting = "Fighting"
)

// Reasons of conditions. They are part of the API: programs may compare them.
const (
	// ReasonSucceeded: it is done.
	ReasonSucceeded = "Succeeded"
	// ReasonProgressing: it is under way.
	ReasonProgressing = "Progressing"
	// ReasonFetched: the Repository's revision is here.
	ReasonFetched = "Fetched"

	// ReasonFetchFailed: the Repository cannot be read now.
	ReasonFetchFailed = "FetchFailed"
	// ReasonAuthenticationFailed: the Repository refuses the credentials.
	ReasonAuthenticationFailed = "AuthenticationFailed"
	// ReasonRevisionNotFound: the branch, tag, commit or range does not exist.
	ReasonRevisionNotFound = "RevisionNotFound"
	// ReasonRepositoryNotFound: the Application names no existing Repository.
	ReasonRepositoryNotFound = "RepositoryNotFound"
	// ReasonRepositoryNotReady: the Repository was never fetched.
	ReasonRepositoryNotReady = "RepositoryNotReady"
	// ReasonInvalidSpec: the spec asks for something that cannot be.
	ReasonInvalidSpec = "InvalidSpec"

	// ReasonRenderFailed: Helm, Kustomize or YAML is wrong at this revision.
	ReasonRenderFailed = "RenderFailed"
	// ReasonEmptyRender: nothing is rendered where there were objects.
	ReasonEmptyRender = "EmptyRender"
	// ReasonValidationFailed: an object is refused before the first write.
	ReasonValidationFailed = "ValidationFailed"
	// ReasonApplyFailed: the API server refused a write.
	ReasonApplyFailed = "ApplyFailed"
	// ReasonForbidden: the service account lacks a permission.
	ReasonForbidden = "Forbidden"
	// ReasonOwnedByAnother: another Application or installation owns an object.
	ReasonOwnedByAnother = "OwnedByAnother"
	// ReasonTimeout: a wave or the sync took longer than its deadline.
	ReasonTimeout = "Timeout"
	// ReasonClusterNotFound: the Application names no existing Cluster.
	ReasonClusterNotFound = "ClusterNotFound"
	// ReasonClusterUnreachable: the destination's API server does not answer.
	ReasonClusterUnreachable = "ClusterUnreachable"

	// ReasonDependencyNotReady: an Application of dependsOn is not healthy, or
	// not at the same revision of the same Repository.
	ReasonDependencyNotReady = "DependencyNotReady"
	// ReasonManualSync: Git is ahead, and the sync mode is Manual.
	ReasonManualSync = "ManualSync"
	// ReasonAwaitingApproval: the gate holds the revision until its owners agree.
	ReasonAwaitingApproval = "AwaitingApproval"
	// ReasonDenied: the gate holds the revision, and no approval helps.
	ReasonDenied = "Denied"
	// ReasonReviewFailed: the gate cannot tell what the revision does.
	ReasonReviewFailed = "ReviewFailed"
	// ReasonSuspended: spec.suspend is set.
	ReasonSuspended = "Suspended"
	// ReasonHeld: spec.hold keeps the Application at a revision.
	ReasonHeld = "Held"
	// ReasonDrifted: the cluster left the synced state, and selfHeal is off.
	ReasonDrifted = "Drifted"
	// ReasonDegraded: an object is broken.
	ReasonDegraded = "Degraded"
	// ReasonHealthUnknown: an object's health cannot be told.
	ReasonHealthUnknown = "HealthUnknown"
	// ReasonFieldManagerConflict: another field manager undoes our fields.
	ReasonFieldManagerConflict = "FieldManagerConflict"
	// ReasonTerminating: the Application is deleted and prunes its objects.
	ReasonTerminating = "Terminating"
)
