package helm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/ignore"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/manifest"
)

const (
	maxFileBytes  = 5 << 20 // as Helm
	maxChartBytes = 100 << 20
	maxFiles      = 20_000
	maxNested     = 20
)

// loaded is a chart with its dependencies, and where each file came from.
type loaded struct {
	chart *chart.Chart
	dir   string
	// sources tells where the files of charts are. Copies of a chart under
	// another alias share their files.
	sources map[*common.File]source
	// files and bytes are what the chart is made of, to be bounded.
	files int
	bytes int
	// findings are about the YAML of values.yaml and its like, metadata is the
	// root node of Chart.yaml.
	findings []mizzen.Finding
	metadata *yamlv3.Node
}

// A source is where a file of a chart is.
type source struct {
	// file is the path in the repository: of the file, or of the archive that
	// holds it.
	file     string
	archived bool
}

// load reads the chart in dir. It reads every file that .helmignore does not
// exclude, since templates may print any of them.
func load(ctx context.Context, fsys fs.FS, dir string) (*loaded, error) {
	l := &loaded{dir: dir, sources: map[*common.File]source{}}
	rules, err := ignoreRules(fsys, dir)
	if err != nil {
		return nil, err
	}
	w := walker{ctx: ctx, fsys: fsys, dir: dir, rules: rules, loaded: l}
	if err := w.walk("."); err != nil {
		return nil, err
	}
	if l.chart, err = l.build(w.files, source{file: dir}, 0); err != nil {
		return nil, err
	}
	return l, nil
}

func ignoreRules(fsys fs.FS, dir string) (*ignore.Rules, error) {
	rules := ignore.Empty()
	name := path.Join(dir, ignore.HelmIgnore)
	data, err := fs.ReadFile(fsys, name)
	switch {
	case err == nil:
		if rules, err = ignore.Parse(bytes.NewReader(data)); err != nil {
			return nil, fileError(name, 0, err, "correct the pattern")
		}
	case !errors.Is(err, fs.ErrNotExist) || mizzen.KindOf(err) == mizzen.Refused:
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	rules.AddDefaults()
	return rules, nil
}

func fileError(file string, line int, err error, remedy string) error {
	return &mizzen.Error{Kind: mizzen.Invalid, Origin: mizzen.Origin{File: file, Line: line}, Err: err, Remedy: remedy}
}

// A walker collects the files of a chart's directory.
type walker struct {
	ctx    context.Context
	fsys   fs.FS
	dir    string
	rules  *ignore.Rules
	files  []*archive.BufferedFile
	loaded *loaded
}

func (w *walker) walk(rel string) error {
	if err := w.ctx.Err(); err != nil {
		return fmt.Errorf("read chart %s: %w", w.dir, err)
	}
	dir := path.Join(w.dir, rel)
	entries, err := fs.ReadDir(w.fsys, dir)
	if rel == "." && errors.Is(err, fs.ErrNotExist) && mizzen.KindOf(err) != mizzen.Refused {
		return render.NoSuchPath(dir)
	}
	if err != nil {
		return fmt.Errorf("read directory %s: %w", dir, err)
	}
	if strings.Count(rel, "/") > 4*maxNested {
		return tooMuch(dir, "the chart's directories are nested too deep")
	}
	for _, e := range entries {
		if err := w.visit(path.Join(rel, e.Name()), e); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) visit(rel string, e fs.DirEntry) error {
	name := path.Join(w.dir, rel)
	info, err := fs.Stat(w.fsys, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if w.rules.Ignore(rel, info) {
		return nil
	}
	if info.IsDir() {
		return w.walk(rel)
	}
	if !info.Mode().IsRegular() && e.Type()&fs.ModeSymlink == 0 {
		return fileError(name, 0, errors.New("it is neither a file nor a directory"), "remove it, or list it in .helmignore")
	}
	data, err := fs.ReadFile(w.fsys, name)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	w.files = append(w.files, &archive.BufferedFile{Name: rel, Data: data})
	return w.loaded.count(name, len(data))
}

func tooMuch(object, what string) error {
	return &mizzen.Error{
		Kind: mizzen.TooLarge, Object: object, Err: errors.New(what),
		Remedy: "list what templates do not need in .helmignore, or make the chart smaller",
	}
}

// count bounds what a chart is made of.
func (l *loaded) count(name string, size int) error {
	l.files++
	l.bytes += size
	switch {
	case size > maxFileBytes:
		return tooMuch(name, fmt.Sprintf("the file is larger than %d MiB", maxFileBytes>>20))
	case l.files > maxFiles:
		return tooMuch(name, fmt.Sprintf("the chart has more than %d files", maxFiles))
	case l.bytes > maxChartBytes:
		return tooMuch(name, fmt.Sprintf("the chart has more than %d MiB", maxChartBytes>>20))
	}
	return nil
}

// build makes a chart of its files, as Helm does, but remembers where each
// file is and keeps dependencies in the order of their names.
func (l *loaded) build(files []*archive.BufferedFile, at source, depth int) (*chart.Chart, error) {
	if depth > maxNested {
		return nil, tooMuch(at.file, fmt.Sprintf("charts are nested deeper than %d levels", maxNested))
	}
	own := make([]*archive.BufferedFile, 0, len(files))
	subcharts := map[string][]*archive.BufferedFile{}
	for _, f := range files {
		f.Data = bytes.TrimPrefix(f.Data, []byte("\xef\xbb\xbf"))
		rest, isSub := strings.CutPrefix(f.Name, "charts/")
		if !isSub || path.Ext(f.Name) == ".prov" {
			own = append(own, f)
			continue
		}
		name, inner, _ := strings.Cut(rest, "/")
		if strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") {
			continue
		}
		subcharts[name] = append(subcharts[name], &archive.BufferedFile{Name: inner, Data: f.Data})
	}
	c, err := l.buildOwn(own, at)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(subcharts))
	for name := range subcharts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		sub, err := l.buildSub(name, subcharts[name], at, depth)
		if err != nil {
			return nil, err
		}
		c.AddDependency(sub)
	}
	return c, nil
}

func (l *loaded) buildSub(name string, files []*archive.BufferedFile, parent source, depth int) (*chart.Chart, error) {
	at := parent.join(path.Join("charts", name))
	if path.Ext(name) != ".tgz" {
		// A file that is no archive leaves a chart without Chart.yaml.
		files = slices.DeleteFunc(files, func(f *archive.BufferedFile) bool { return f.Name == "" })
		return l.build(files, at, depth+1)
	}
	at.archived = true
	unpacked, err := archive.LoadArchiveFiles(bytes.NewReader(files[0].Data))
	if err != nil {
		return nil, fileError(at.file, 0, fmt.Errorf("unpack the chart: %w", err), "package the chart again with `helm dependency build`")
	}
	for _, f := range unpacked {
		if err := l.count(at.file, len(f.Data)); err != nil {
			return nil, err
		}
	}
	return l.build(unpacked, at, depth+1)
}

func (s source) join(name string) source {
	if s.archived {
		return s
	}
	return source{file: path.Join(s.file, name)}
}

// yamlFiles are the files that Helm decodes, so their bounds are checked first.
var yamlFiles = []string{"Chart.yaml", "values.yaml", "requirements.yaml", "Chart.lock", "requirements.lock"}

func (l *loaded) buildOwn(files []*archive.BufferedFile, at source) (*chart.Chart, error) {
	for _, f := range files {
		if !slices.Contains(yamlFiles, f.Name) {
			continue
		}
		docs, findings, err := manifest.Read(at.join(f.Name).file, f.Data)
		if err != nil {
			return nil, inArchive(err, at, f.Name)
		}
		if !at.archived {
			l.findings = append(l.findings, findings...)
		}
		if f.Name == "Chart.yaml" {
			if err := l.checkMetadata(docs, at); err != nil {
				return nil, err
			}
		}
	}
	c, err := loader.LoadFiles(files)
	if err != nil {
		return nil, fileError(at.join("Chart.yaml").file, 0, err, "correct the chart; `helm lint` says more")
	}
	for _, list := range [][]*common.File{c.Templates, c.Files} {
		for _, f := range list {
			l.sources[f] = at.join(f.Name)
		}
	}
	return c, nil
}

// inArchive removes the line of a file that is within an archive.
func inArchive(err error, at source, name string) error {
	var e *mizzen.Error
	if at.archived && errors.As(err, &e) {
		e.Origin.Line = 0
		e.Err = fmt.Errorf("%s: %w", name, e.Err)
	}
	return err
}

func (l *loaded) checkMetadata(docs []manifest.Document, at source) error {
	if len(docs) == 0 {
		return nil
	}
	if at.file == l.dir {
		l.metadata = docs[0].Root
	}
	object, _ := docs[0].Value.(map[string]any)
	switch v, _ := object["apiVersion"].(string); v {
	case "", chart.APIVersionV1, chart.APIVersionV2:
		return nil
	default:
		return fileError(at.join("Chart.yaml").file, docs[0].Line, fmt.Errorf("charts of apiVersion %s are not supported", v), "use apiVersion v2")
	}
}

// lineOfDependency returns where Chart.yaml names a dependency, 0 if it does
// not.
func (l *loaded) lineOfDependency(name string) int {
	list := manifest.Resolve(manifest.Child(l.metadata, "dependencies"))
	if list == nil {
		return 0
	}
	for _, d := range list.Content {
		if n := manifest.Child(d, "name"); n != nil && n.Value == name {
			return n.Line
		}
	}
	return 0
}
