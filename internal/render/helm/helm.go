// Package helm renders a chart with Helm's own engine, over the files of a
// Snapshot instead of a disk. In: the repository, the directory of the chart,
// values and capabilities; out: what `helm template --include-crds` prints
// except for hooks, each object with its Origin.
//
// Charts are untrusted code. They get no cluster (lookup is empty), no network
// (getHostByName is empty, a remote $ref in a values schema is refused) and no
// environment. What they print is bounded; what they burn is bounded by the
// context and by the process they run in, since a Go template cannot be
// stopped from outside: after an Error of Kind Timeout or TooLarge the process is still
// busy and must be ended.
//
// A few functions differ from Helm's in what Helm leaves open: keys and values
// give the order of the sorted keys, and dates are in UTC.
package helm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
)

// Render renders the chart in o.Path of fsys. Errors are mizzen.Errors that
// name file and line where they are known: NotFound if there is no chart or
// values file, Refused if it asks for something outside of the repository,
// Timeout or TooLarge if it exceeds a bound, Invalid for everything else.
func Render(ctx context.Context, fsys fs.FS, o render.Options) (*render.Output, error) {
	o.Path = path.Clean(o.Path)
	l, err := load(ctx, fsys, o.Path)
	if err != nil {
		return nil, err
	}
	given, err := readValues(fsys, l, o)
	if err != nil {
		return nil, err
	}
	r := &rendering{loaded: l, given: given, options: o, out: &render.Output{Renderer: render.Helm}}
	if err := r.prepare(); err != nil {
		return nil, err
	}
	if err := r.execute(ctx); err != nil {
		return nil, err
	}
	if err := r.collect(); err != nil {
		return nil, err
	}
	if o.FieldOrigins {
		if err := r.findOrigins(ctx); err != nil {
			return nil, err
		}
	}
	mizzen.SortFindings(r.out.Findings)
	return r.out, nil
}

// A rendering is one chart on its way to objects.
type rendering struct {
	loaded  *loaded
	given   *values
	options render.Options
	out     *render.Output

	// values are what templates see as their root, templates the parsed
	// templates by Helm's name for them.
	values    common.Values
	templates map[string]*template
	// rendered is what each template printed.
	rendered map[string]string
	// documents are the objects of rendered, beside those of r.out.Objects.
	documents []document
}

// prepare does what comes before templates: dependencies, values, schemas.
func (r *rendering) prepare() error {
	c := r.loaded.chart
	if err := r.checkChart(); err != nil {
		return err
	}
	if err := chartutil.ProcessDependencies(c, r.given.merged); err != nil {
		return r.chartError(errors.New("dependencies: "+oneLine(err.Error())), "correct dependencies, conditions and values")
	}
	caps, err := capabilities(r.options.Capabilities)
	if err != nil {
		return err
	}
	root, err := util.ToRenderValuesWithSchemaValidation(c, r.given.merged, common.ReleaseOptions{
		Name:      r.releaseName(),
		Namespace: r.options.Namespace,
		Revision:  1,
		IsInstall: !r.options.IsUpgrade,
		IsUpgrade: r.options.IsUpgrade,
	}, caps, true)
	if err != nil {
		return r.chartError(fmt.Errorf("values: %w", err), "correct the values")
	}
	r.values = root
	scope, _ := root["Values"].(common.Values)
	if err := r.validate(c, scope); err != nil {
		return err
	}
	if want := c.Metadata.KubeVersion; want != "" {
		r.out.Consulted.Capabilities = true
		if !chartutil.IsCompatibleRange(want, caps.KubeVersion.String()) {
			return r.chartError(fmt.Errorf("the chart wants Kubernetes %s, the cluster has %s", want, caps.KubeVersion.Version),
				"use a version of the chart that supports the cluster")
		}
	}
	if r.templates, err = parseTemplates(r.loaded); err != nil {
		return err
	}
	r.consult()
	return nil
}

// releaseName defaults to the name of the chart; Helm has no default.
func (r *rendering) releaseName() string {
	if r.options.ReleaseName != "" {
		return r.options.ReleaseName
	}
	return r.loaded.chart.Name()
}

func (r *rendering) checkChart() error {
	c := r.loaded.chart
	if t := c.Metadata.Type; t != "" && t != "application" {
		return r.chartError(fmt.Errorf("a chart of type %s renders nothing by itself", t), "point the Application at a chart that uses it")
	}
	have := map[string]bool{}
	for _, d := range c.Dependencies() {
		have[d.Name()] = true
	}
	for _, d := range c.Metadata.Dependencies {
		if d != nil && !have[d.Name] {
			return &mizzen.Error{
				Kind: mizzen.NotFound, Object: "chart " + d.Name,
				Origin: mizzen.Origin{File: path.Join(r.options.Path, "Chart.yaml"), Line: r.loaded.lineOfDependency(d.Name)},
				Err:    errors.New("it is a dependency in Chart.yaml, but not in charts/"),
				Remedy: "run `helm dependency build " + r.options.Path + "` and commit charts/",
			}
		}
	}
	return nil
}

// chartError is an error of the chart as a whole.
func (r *rendering) chartError(err error, remedy string) error {
	return &mizzen.Error{
		Kind: mizzen.Invalid, Object: "chart " + r.loaded.chart.Name(),
		Origin: mizzen.Origin{File: path.Join(r.options.Path, "Chart.yaml")},
		Err:    err, Remedy: remedy,
	}
}

// capabilities returns those of the destination, or Helm's defaults for what
// is not told.
func capabilities(o render.Capabilities) (*common.Capabilities, error) {
	caps := common.DefaultCapabilities.Copy()
	if o.KubeVersion != "" {
		v, err := common.ParseKubeVersion(o.KubeVersion)
		if err != nil {
			return nil, &mizzen.Error{
				Kind: mizzen.Invalid, Object: "Kubernetes version " + o.KubeVersion, Err: err,
				Remedy: "give a version such as v1.36.0",
			}
		}
		caps.KubeVersion = *v
	}
	if len(o.APIVersions) > 0 {
		caps.APIVersions = common.VersionSet(o.APIVersions)
	}
	return caps, nil
}

// eachChart calls f for a chart and its enabled dependencies, with the names
// that lead to each in the values.
func eachChart(c *chart.Chart, scope []string, f func(c *chart.Chart, scope []string)) {
	f(c, scope)
	for _, d := range c.Dependencies() {
		eachChart(d, append(scope[:len(scope):len(scope)], d.Name()), f)
	}
}
