package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	istio "mizzen.dev/mizzen/internal/traffic/release"
)

// release is set by the linker for a release; a build from a checkout reports
// its commit instead.
var release string

// version returns the release, the commit, or "devel".
func version() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}

// dependency returns the version of a module that Mizzen is built with.
func dependency(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == path {
			if m.Replace != nil {
				m = m.Replace
			}
			return m.Version
		}
	}
	return "unknown"
}

type versionInfo struct {
	Version    string `json:"version"`
	Go         string `json:"go"`
	Platform   string `json:"platform"`
	Helm       string `json:"helm"`
	Kustomize  string `json:"kustomize"`
	Kubernetes string `json:"kubernetes"`
	// Istio is the release that effects and traces are computed with.
	Istio string `json:"istio"`
	// Envoy is the minor release whose decisions about requests they follow.
	Envoy string `json:"envoy"`
}

func (a *app) versionCommand() *cobra.Command {
	var out outputFlag
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version, and those of what is in it",
		Args:  arguments(0, 0),
		RunE: func(*cobra.Command, []string) error {
			v := versionInfo{
				Version: version(), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
				Helm: dependency("helm.sh/helm/v4"), Kustomize: dependency("sigs.k8s.io/kustomize/api"),
				Kubernetes: dependency("k8s.io/client-go"), Istio: istio.Compiled, Envoy: istio.Envoy,
			}
			return out.write(a.Out, "version", v, func() error {
				_, err := fmt.Fprintf(a.Out, "mizzen %s (%s, %s)\nhelm %s, kustomize %s, kubernetes %s, istio %s, envoy %s\n",
					v.Version, v.Go, v.Platform, v.Helm, v.Kustomize, v.Kubernetes, v.Istio, v.Envoy)
				return err
			})
		},
	}
	out.register(cmd, "text", "json", "yaml")
	return cmd
}
