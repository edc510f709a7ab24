// Package crds holds the CustomResourceDefinitions of Mizzen's own kinds,
// generated from package v1alpha1, for whoever installs them.
package crds

import "embed"

// Files holds one YAML file per kind.
//
//go:embed *.yaml
var Files embed.FS

// Admission holds policies, below admission/, that do for every new object of
// our kinds what the controller would otherwise need a request for. They are
// optional.
//
//go:embed admission/*.yaml
var Admission embed.FS

// Approval holds the policy, below approval/, that verifies who approves.
//
//go:embed approval/*.yaml
var Approval embed.FS

// ApprovalPolicy is the name of that policy and of its binding.
const ApprovalPolicy = "mizzen.dev-approval"
