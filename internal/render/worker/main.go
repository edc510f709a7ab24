package worker

import (
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/helm"
	"mizzen.dev/mizzen/internal/render/kustomize"
	"mizzen.dev/mizzen/internal/render/plain"
)

// Main is the main function of a process whose first argument is
// render.WorkerCommand; args are those after it. It returns the exit code.
// Call it before anything else is set up: what is open or running by then
// only widens what a chart might reach.
func Main(args []string) int {
	return Serve(args, Renderers(), helm.Warm)
}

// Renderers returns the table of Main.
func Renderers() Table {
	return Table{
		render.Helm:      helm.Render,
		render.Kustomize: kustomize.Render,
		render.Plain:     plain.Render,
	}
}
