// Package v1alpha1 holds the custom resources of the group mizzen.dev: what a
// user writes (spec) and what Mizzen answers (status). It depends on
// apimachinery alone, so that other programs can import it.
//
// +kubebuilder:object:generate=true
// +groupName=mizzen.dev
package v1alpha1
