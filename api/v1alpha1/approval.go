package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Approval is somebody's agreement to what one revision does to one
// Application. The API server lets nobody agree in another's name, and nobody
// without the right to; `mizzen approve` makes Approvals.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=mizzen
// +kubebuilder:printcolumn:name="Application",type=string,JSONPath=`.spec.application`
// +kubebuilder:printcolumn:name="User",type=string,JSONPath=`.spec.user`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.spec.reason`
// +kubebuilder:printcolumn:name="Digest",type=string,JSONPath=`.spec.digest`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Approval struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ApprovalSpec `json:"spec"`
}

// ApprovalSpec says who agrees to what. It cannot be changed; to take an
// Approval back before it is used, delete it.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="an Approval cannot be changed; delete it and make another one"
type ApprovalSpec struct {
	// Application names an Application of the same namespace.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Application string `json:"application"`
	// Digest is that of the review in the Application's status; the Approval
	// holds for exactly what was reviewed.
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	Digest string `json:"digest"`
	// User is the user of the request that creates the Approval, which the API
	// server verifies.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	User string `json:"user"`
	// Owners are those of CODEOWNERS in whose name the user agrees, as they are
	// written there, such as "@acme/payments". The user needs the verb approve
	// for each, on the resource owners of mizzen.dev.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Owners []string `json:"owners,omitempty"`
	// Reason is for whoever reads it later.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Reason string `json:"reason,omitempty"`
}

// ApprovalList is a list of Approvals.
//
// +kubebuilder:object:root=true
type ApprovalList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Approval `json:"items"`
}

// ReviewStatus is a summary of what a revision does, compared with what is
// synced. It takes 4 KiB at most.
type ReviewStatus struct {
	// Revision is the commit that was reviewed, Base the synced one that it was
	// compared with.
	Revision string `json:"revision"`
	Base     string `json:"base"`
	// Digest identifies what the revision does and what is said of it. Approvals
	// name it.
	Digest string `json:"digest"`
	// Decision is allow, needsApproval or deny.
	Decision string `json:"decision"`
	// Gate is Report if the revision passes whatever the decision is; else Policy.
	// +optional
	Gate Gate `json:"gate,omitempty"`
	// Default tells that the gate is that of the controller, and not of the spec.
	// +optional
	Default bool `json:"default,omitempty"`
	// Changes counts the objects that differ.
	// +optional
	Changes SyncCounts `json:"changes,omitzero"`
	// Effects counts the effects on traffic, security and exposure.
	// +optional
	Effects EffectCounts `json:"effects,omitzero"`
	// Reasons are the first rules of policy that object, in words, the
	// strictest first.
	// +optional
	// +listType=atomic
	Reasons []string `json:"reasons,omitempty"`
	// Approvals are who must agree, if the decision is needsApproval.
	// +optional
	// +listType=atomic
	Approvals []RequiredApproval `json:"approvals,omitempty"`
}

// EffectCounts counts effects by severity.
type EffectCounts struct {
	// +optional
	Danger int `json:"danger,omitempty"`
	// +optional
	Warning int `json:"warning,omitempty"`
	// +optional
	Notice int `json:"notice,omitempty"`
	// +optional
	Info int `json:"info,omitempty"`
}

// RequiredApproval is the agreement of one group of owners.
type RequiredApproval struct {
	// Owners are the first who may give it, as CODEOWNERS writes them; empty:
	// anybody who may approve for the Application.
	// +optional
	// +listType=atomic
	Owners []string `json:"owners,omitempty"`
	// Count is how many users must agree.
	Count int `json:"count"`
	// By are the first users who agreed.
	// +optional
	// +listType=atomic
	By []string `json:"by,omitempty"`
}
