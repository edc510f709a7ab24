// Gen writes the archives of package schemas: Kubernetes' kinds as the API
// server of KUBECONFIG publishes them, Istio's and the Gateway API's from the
// files of Istio's Go module.
//
//	KUBECONFIG=… go run ./gen
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"mizzen.dev/mizzen/internal/lint/archive"
)

// istioModule is the version of Istio that the lab runs.
const istioModule = "istio.io/istio@v0.0.0-20260827124520-eed52ebb66ad"

// sources are the files of Istio's module that hold definitions.
var sources = map[string]string{
	"istio.gz":      "manifests/charts/base/files/crd-all.gen.yaml",
	"gatewayapi.gz": "tests/integration/pilot/testdata/gateway-api-crd.yaml",
}

func main() {
	log.SetFlags(0)
	if err := run(context.Background()); err != nil {
		log.Fatal("gen: ", err)
	}
}

func run(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return fmt.Errorf("read KUBECONFIG: %w", err)
	}
	archives, err := fromIstio(ctx)
	if err != nil {
		return err
	}
	if archives["kubernetes.gz"], err = fromCluster(config); err != nil {
		return err
	}
	for name, a := range archives {
		if err := os.WriteFile(name, a.Bytes(), 0o644); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		log.Printf("%s: %d kinds, %d bytes", name, len(a.Kinds()), len(a.Bytes()))
	}
	return nil
}

// fromCluster packs what the API server publishes, without custom resources.
func fromCluster(config *rest.Config) (*archive.Archive, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	paths, err := client.OpenAPIV3().Paths()
	if err != nil {
		return nil, fmt.Errorf("list OpenAPI documents: %w", err)
	}
	var documents [][]byte
	for path, gv := range paths {
		doc, err := gv.Schema(runtime.ContentTypeJSON)
		if err != nil {
			return nil, fmt.Errorf("read OpenAPI document %s: %w", path, err)
		}
		ours, err := builtIn(doc)
		if err != nil {
			return nil, fmt.Errorf("read OpenAPI document %s: %w", path, err)
		}
		if ours {
			documents = append(documents, doc)
		}
	}
	return archive.FromOpenAPI(documents...)
}

// builtIn tells Kubernetes' own group-versions from those of definitions that
// happen to be installed.
func builtIn(doc []byte) (bool, error) {
	a, err := archive.FromOpenAPI(doc)
	if err != nil {
		return false, err
	}
	custom := slices.ContainsFunc(a.Kinds(), func(k archive.Kind) bool { return k.Custom })
	return !custom, nil
}

func fromIstio(ctx context.Context) (map[string]*archive.Archive, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", istioModule)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("download %s: %w: %s", istioModule, err, stderr.Bytes())
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		return nil, fmt.Errorf("download %s: %w", istioModule, err)
	}
	archives := map[string]*archive.Archive{}
	for name, file := range sources {
		crds, err := readCRDs(filepath.Join(module.Dir, file))
		if err != nil {
			return nil, err
		}
		if archives[name], err = archive.FromCRDs(crds...); err != nil {
			return nil, fmt.Errorf("pack %s: %w", file, err)
		}
	}
	return archives, nil
}

func readCRDs(file string) ([]*apiextensionsv1.CustomResourceDefinition, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var crds []*apiextensionsv1.CustomResourceDefinition
	for d := utilyaml.NewYAMLOrJSONDecoder(f, 1<<16); ; {
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := d.Decode(crd); err != nil {
			if errors.Is(err, io.EOF) {
				return crds, nil
			}
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		if crd.Kind == "CustomResourceDefinition" {
			crds = append(crds, crd)
		}
	}
}
