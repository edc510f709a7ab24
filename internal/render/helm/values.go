package helm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/loader"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/manifest"
)

// values are those given to the chart from outside.
type values struct {
	merged map[string]any
	// files are the values files in order; later ones win.
	files []valuesFile
	// inline are the Application's own, which win over files.
	inline map[string]any
}

type valuesFile struct {
	name  string
	roots []*yamlv3.Node
	text  []byte
}

// readValues reads the values files that are named; without any, values.yml if
// there is no values.yaml, which Helm would not look at.
func readValues(fsys fs.FS, l *loaded, o render.Options) (*values, error) {
	v := &values{merged: map[string]any{}}
	names := o.ValuesFiles
	if len(names) == 0 && hasOnlyYML(l) {
		names = []string{"values.yml"}
	}
	for _, name := range names {
		if err := v.read(fsys, o.Path, name); err != nil {
			return nil, err
		}
	}
	if len(o.Values) == 0 {
		return v, nil
	}
	// Through text, so that numbers are what Helm makes of them.
	text, err := json.Marshal(o.Values)
	if err == nil {
		v.inline, err = loader.LoadValues(bytes.NewReader(text))
	}
	if err != nil {
		return nil, &mizzen.Error{Kind: mizzen.Invalid, Object: "spec.source.helm.values", Err: err, Remedy: "correct the values"}
	}
	v.merged = loader.MergeMaps(v.merged, v.inline)
	return v, nil
}

func hasOnlyYML(l *loaded) bool {
	found := false
	for _, f := range l.chart.Raw {
		if f.Name == "values.yaml" {
			return false
		}
		found = found || f.Name == "values.yml"
	}
	return found
}

func (v *values) read(fsys fs.FS, dir, name string) error {
	file, err := locate(dir, name)
	if err != nil {
		return err
	}
	data, err := fs.ReadFile(fsys, file)
	switch {
	case mizzen.KindOf(err) == mizzen.Refused:
		return fmt.Errorf("read values file %s: %w", file, err)
	case errors.Is(err, fs.ErrNotExist):
		return &mizzen.Error{
			Kind: mizzen.NotFound, Object: "values file " + file,
			Err:    fmt.Errorf("it is not in the repository: %w", fs.ErrNotExist),
			Remedy: `correct spec.source.helm.valuesFiles (relative to the chart, or to the repository with a leading "/"), or commit the file`,
		}
	case err != nil:
		return fmt.Errorf("read values file %s: %w", file, err)
	}
	docs, _, err := manifest.Read(file, data)
	if err != nil {
		return err
	}
	read := valuesFile{name: file, text: data}
	for _, d := range docs {
		if _, ok := d.Value.(map[string]any); !ok {
			return fileError(file, d.Line, errors.New("values are not a mapping"), "correct the file")
		}
		read.roots = append(read.roots, d.Root)
	}
	parsed, err := loader.LoadValues(bytes.NewReader(data))
	if err != nil {
		return fileError(file, 0, err, "correct the file")
	}
	v.merged = loader.MergeMaps(v.merged, parsed)
	v.files = append(v.files, read)
	return nil
}

// locate translates the name of a values file to one of the repository.
func locate(dir, name string) (string, error) {
	refused := &mizzen.Error{Kind: mizzen.Refused, Object: "values file " + name, Remedy: "copy it into the repository"}
	if u, err := url.Parse(name); err == nil && u.Scheme != "" {
		refused.Object = "values file " + u.Redacted()
		refused.Err = errors.New("it is remote, and what Git says here must not depend on another server")
		return "", refused
	}
	file := path.Join(dir, name)
	if strings.HasPrefix(name, "/") {
		file = path.Join(".", "./"+name)
	}
	if !fs.ValidPath(file) {
		refused.Err = errors.New("the path leads out of the repository")
		return "", refused
	}
	return file, nil
}

// asTable returns a mapping of values, which Helm has two types for.
func asTable(v any) (map[string]any, bool) {
	switch t := v.(type) {
	case map[string]any:
		return t, true
	case common.Values:
		return t, true
	}
	return nil, false
}
