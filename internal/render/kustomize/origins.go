package kustomize

import (
	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
)

func findOrigins(_ *fileSystem, _ []*layer, _ render.Options, _ []mizzen.Object) error { return nil }
