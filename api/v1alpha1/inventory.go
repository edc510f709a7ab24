package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// InventoryStatus is what was applied for an Application.
type InventoryStatus struct {
	// Entries are sorted. They are empty if Parts hold them.
	// +optional
	// +listType=atomic
	Entries []InventoryEntry `json:"entries,omitempty"`
	// Parts names the Inventory objects that hold the entries, when there are
	// too many for the Application itself.
	// +optional
	// +listType=atomic
	Parts []string `json:"parts,omitempty"`
}

// InventoryEntry is one applied object.
type InventoryEntry struct {
	// Ref is "group/Kind namespace/name", without the parts that are empty.
	Ref string `json:"ref"`
	// Version is the API version that it was applied in, without the group.
	Version string `json:"v"`
	// Hash is that of the content that was applied.
	Hash string `json:"hash"`
	// Managed is the hash of our entry in metadata.managedFields right after
	// it was applied; as long as the live one is the same, nothing drifted.
	// +optional
	Managed string `json:"managed,omitempty"`
}

// Inventory holds a part of the inventory of a large Application. It belongs
// to the Application, and nobody writes it by hand.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=mizzen
type Inventory struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +optional
	// +listType=atomic
	Entries []InventoryEntry `json:"entries,omitempty"`
}

// InventoryList is a list of Inventories.
//
// +kubebuilder:object:root=true
type InventoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Inventory `json:"items"`
}
