package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Repository is where desired state comes from.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=repo,categories=mizzen
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.url`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.revision`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Repository struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   RepositorySpec   `json:"spec"`
	Status RepositoryStatus `json:"status,omitempty"`
}

// RepositorySpec says what to fetch, how often, and as whom.
type RepositorySpec struct {
	// URL is where the Git repository is: https://…, ssh://…, git@host:path,
	// http://… or file:///….
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="self.matches('^(https?|ssh|file)://[^\\\\s]+$') || self.matches('^[A-Za-z0-9_.-]+@[A-Za-z0-9.-]+:[^\\\\s]+$')",message="must be an http, https, ssh or file URL, or user@host:path"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/]*:[^/]*@')",message="must not hold a password; put it into the Secret of secretRef"
	URL string `json:"url"`

	// Revision is the default of Applications that name none: a branch, a tag,
	// a commit, or a semver range over tags such as "semver:>=1.2 <2".
	// +optional
	// +kubebuilder:default=main
	// +kubebuilder:validation:MaxLength=256
	Revision string `json:"revision,omitempty"`

	// Interval is how often to look for new commits when no webhook tells.
	// +optional
	// +kubebuilder:default="1m"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="must be at least 1s"
	Interval metav1.Duration `json:"interval,omitzero"`

	// Timeout bounds one fetch.
	// +optional
	// +kubebuilder:default="60s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="must be at least 1s"
	Timeout metav1.Duration `json:"timeout,omitzero"`

	// SecretRef names a Secret of the same namespace with the credentials:
	// username and password, or token (https); identity and known_hosts (ssh);
	// caFile for a private certificate authority.
	// +optional
	SecretRef *SecretReference `json:"secretRef,omitempty"`

	// WebhookSecretRef names a Secret of the same namespace whose key "token"
	// signs the pushes that a forge announces.
	// +optional
	WebhookSecretRef *SecretReference `json:"webhookSecretRef,omitempty"`

	// Suspend stops fetching.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// SecretReference names a Secret in the namespace of the object that holds it.
type SecretReference struct {
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
}

// RepositoryStatus says what was last seen.
type RepositoryStatus struct {
	// ObservedGeneration is the generation of the spec that the rest is about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Revision is the commit that spec.revision was last found at.
	// +optional
	Revision string `json:"revision,omitempty"`
	// Conditions are sorted by type.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// RepositoryList is a list of Repositories.
//
// +kubebuilder:object:root=true
type RepositoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Repository `json:"items"`
}

// Cluster is a destination other than the cluster that holds the Application.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=mizzen
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Cluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ClusterSpec   `json:"spec"`
	Status ClusterStatus `json:"status,omitempty"`
}

// ClusterSpec says how to reach a cluster.
type ClusterSpec struct {
	// KubeconfigSecretRef names a Secret of the same namespace whose key
	// "kubeconfig" (or "value") holds a kubeconfig. It must hold its
	// credentials: files and commands that it names are refused.
	KubeconfigSecretRef SecretReference `json:"kubeconfigSecretRef"`
}

// ClusterStatus says whether a cluster answers.
type ClusterStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Version is the API server's, such as v1.36.3.
	// +optional
	Version string `json:"version,omitempty"`
	// Conditions are sorted by type.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// ClusterList is a list of Clusters.
//
// +kubebuilder:object:root=true
type ClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Cluster `json:"items"`
}
