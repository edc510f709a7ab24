package discover

import "strings"

// kind is what a manifest is to this package.
type kind int

const (
	kindNone kind = iota
	kindMizzen
	kindMizzenRepository
	kindArgo
	kindArgoSet
	kindFlux
	kindFluxHelm
	kindFluxGit
)

// kindOf tells what an object is, whatever the version of its API.
func kindOf(object map[string]any) kind {
	apiVersion, _ := object["apiVersion"].(string)
	group, _, _ := strings.Cut(apiVersion, "/")
	name, _ := object["kind"].(string)
	switch group + "/" + name {
	case "mizzen.dev/Application":
		return kindMizzen
	case "mizzen.dev/Repository":
		return kindMizzenRepository
	case "argoproj.io/Application":
		return kindArgo
	case "argoproj.io/ApplicationSet":
		return kindArgoSet
	case "kustomize.toolkit.fluxcd.io/Kustomization":
		return kindFlux
	case "helm.toolkit.fluxcd.io/HelmRelease":
		return kindFluxHelm
	case "source.toolkit.fluxcd.io/GitRepository":
		return kindFluxGit
	}
	return kindNone
}

// Declares tells whether an object is one that Catalog.Read or
// Catalog.Remember wants to see.
func Declares(object map[string]any) bool { return kindOf(object) != kindNone }

// Deploys tells whether an object declares an Application, or several.
func Deploys(object map[string]any) bool {
	switch kindOf(object) {
	case kindNone, kindMizzenRepository, kindFluxGit:
		return false
	}
	return true
}
