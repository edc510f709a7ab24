// Package meshtest gives tests and benchmarks what a mesh is made of: manifests
// come in and Objects go out, or a number of services and their manifests. It is
// for tests, and no product code may import it.
package meshtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"mizzen.dev/mizzen"
)

// Objects returns the objects of manifests, in their order and without Origins.
func Objects(t testing.TB, manifests string) []mizzen.Object {
	t.Helper()
	objects, err := decode(strings.NewReader(manifests))
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// Read returns the objects of all files of fsys, by the order of their paths.
func Read(fsys fs.FS) (objects []mizzen.Object, err error) {
	err = fs.WalkDir(fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(fsys, path)
		if err != nil {
			return err
		}
		found, err := decode(bytes.NewReader(content))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		objects = append(objects, found...)
		return nil
	})
	return objects, err
}

func decode(manifests io.Reader) (objects []mizzen.Object, err error) {
	for d := utilyaml.NewYAMLOrJSONDecoder(manifests, 4096); ; {
		u := &unstructured.Unstructured{}
		if err := d.Decode(u); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		if len(u.Object) > 0 {
			objects = append(objects, mizzen.Object{Unstructured: u})
		}
	}
}

// perTeam is how many services of a city share a namespace.
const perTeam = 10

// City is a mesh of n services with four objects each: service I, of namespace
// team-(I/10), is in svc-I/service.yaml. It sends 90 % of its requests to its own
// version v1 and the rest to the next service of its team.
func City(n int) fstest.MapFS {
	files := fstest.MapFS{}
	for i := range n {
		team := i / perTeam
		first, size := team*perTeam, min(perTeam, n-team*perTeam)
		next := first + (i-first+1)%size
		fill := strings.NewReplacer("NUMBER", strconv.Itoa(i), "TEAM", strconv.Itoa(team), "NEXT", strconv.Itoa(next))
		files[fmt.Sprintf("svc-%d/service.yaml", i)] = &fstest.MapFile{Data: []byte(fill.Replace(service)), Mode: 0o644}
	}
	return files
}

// service is one service of a city. NUMBER is its number, TEAM that of its team,
// and NEXT that of another service of the team.
const service = `apiVersion: v1
kind: Service
metadata: {name: svc-NUMBER, namespace: team-TEAM}
spec: {selector: {app: svc-NUMBER}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: svc-NUMBER, namespace: team-TEAM}
spec:
  selector: {matchLabels: {app: svc-NUMBER}}
  template:
    metadata: {labels: {app: svc-NUMBER, version: v1}}
    spec: {containers: [{name: app, image: app:1}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: svc-NUMBER, namespace: team-TEAM}
spec: {host: svc-NUMBER, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: svc-NUMBER, namespace: team-TEAM}
spec:
  hosts: [svc-NUMBER]
  http:
  - route:
    - destination: {host: svc-NUMBER, subset: v1}
      weight: 90
    - destination: {host: svc-NEXT}
      weight: 10
`
