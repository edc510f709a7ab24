// Package schemas holds the schemas that Mizzen knows without a cluster:
// Kubernetes' own kinds as a kube-apiserver publishes them, Istio's and the
// Gateway API's from their CustomResourceDefinitions, and Mizzen's own.
package schemas

import (
	_ "embed"
	"fmt"
	"sync"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen/api/crds"
	"mizzen.dev/mizzen/internal/lint/archive"
)

// The archives are written from the real thing, and a test in ./gen tells
// when they are not fresh. It needs KUBECONFIG to name a kube-apiserver of the
// version of go.mod's k8s.io modules.
//
//go:generate go run ./gen
var (
	//go:embed kubernetes.gz
	kubernetes []byte
	//go:embed istio.gz
	istio []byte
	//go:embed gatewayapi.gz
	gatewayAPI []byte
)

// Archives opens all of them, those first in which kinds are looked up most
// often. They are opened once.
var Archives = sync.OnceValues(func() ([]*archive.Archive, error) {
	all := make([]*archive.Archive, 0, 4)
	for _, packed := range [][]byte{kubernetes, istio, gatewayAPI} {
		a, err := archive.Open(packed)
		if err != nil {
			return nil, fmt.Errorf("open built-in schemas: %w", err)
		}
		all = append(all, a)
	}
	own, err := mizzenKinds()
	if err != nil {
		return nil, err
	}
	return append(all, own), nil
})

func mizzenKinds() (*archive.Archive, error) {
	entries, err := crds.Files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("read Mizzen's own kinds: %w", err)
	}
	var all []*apiextensionsv1.CustomResourceDefinition
	for _, e := range entries {
		b, err := crds.Files.ReadFile(e.Name())
		if err != nil {
			return nil, fmt.Errorf("read Mizzen's own kinds: %w", err)
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(b, crd); err != nil {
			return nil, fmt.Errorf("read Mizzen's own kind %s: %w", e.Name(), err)
		}
		all = append(all, crd)
	}
	return archive.FromCRDs(all...)
}
