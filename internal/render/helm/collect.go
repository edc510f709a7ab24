package helm

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render/manifest"
)

// A document is one document that a template printed.
type document struct {
	template *template
	// offset is where the document begins in what the template printed.
	offset int
	parsed manifest.Document
	// objects are its objects; those of hooks are not in the output.
	objects []mizzen.Object
	items   []manifest.Item
}

// separator is Helm's: unlike YAML's, it may stand before text without a blank.
var separator = regexp.MustCompile(`(?m)^---[ \t]*`)

// collect reads the objects of crds/ and of what templates printed, in the
// order in which Helm would install them.
func (r *rendering) collect() error {
	if !r.options.SkipCRDs {
		if err := r.collectCRDs(); err != nil {
			return err
		}
	}
	for _, name := range names(r.templates) {
		text, ok := r.rendered[name]
		if !ok || isNotes(name) {
			continue
		}
		if err := r.collectDocuments(r.templates[name], text); err != nil {
			return err
		}
	}
	rank := map[string]int{}
	for i, kind := range releaseutil.InstallOrder {
		rank[kind] = i + 1
	}
	var installed []mizzen.Object
	for _, d := range r.documents {
		for _, o := range d.objects {
			if finding, out := leftOut(o); out {
				r.out.Findings = append(r.out.Findings, finding)
				continue
			}
			installed = append(installed, o)
		}
	}
	slices.SortStableFunc(installed, func(a, b mizzen.Object) int { return compareKinds(rank, a.GetKind(), b.GetKind()) })
	r.out.Objects = append(r.out.Objects, installed...)
	r.out.Findings = append(r.out.Findings, r.loaded.findings...)
	return nil
}

// compareKinds orders as Helm installs; kinds that it does not know come last,
// by name.
func compareKinds(rank map[string]int, a, b string) int {
	switch ra, rb := rank[a], rank[b]; {
	case ra == 0 && rb == 0:
		return strings.Compare(a, b)
	case ra == 0:
		return 1
	case rb == 0:
		return -1
	default:
		return ra - rb
	}
}

// collectCRDs reads the files of crds/, which are no templates.
func (r *rendering) collectCRDs() error {
	var failure error
	eachChart(r.loaded.chart, nil, func(c *chart.Chart, _ []string) {
		for _, f := range c.Files {
			if failure == nil && isCRD(f) {
				failure = r.collectCRD(f)
			}
		}
	})
	return failure
}

func isCRD(f *common.File) bool {
	switch strings.ToLower(path.Ext(f.Name)) {
	case ".yaml", ".yml", ".json":
		return strings.HasPrefix(f.Name, "crds/")
	}
	return false
}

func (r *rendering) collectCRD(f *common.File) error {
	at := r.loaded.sources[f]
	objects, findings, err := manifest.ReadObjects(at.file, f.Data, r.options.FieldOrigins && !at.archived)
	if err != nil {
		return inArchive(err, at, f.Name)
	}
	if at.archived {
		for i := range objects {
			objects[i].Origins.Object.Line = 0
		}
	} else {
		r.out.Findings = append(r.out.Findings, findings...)
	}
	r.out.Objects = append(r.out.Objects, objects...)
	return nil
}

func (r *rendering) collectDocuments(t *template, text string) error {
	start := 0
	cuts := append(separator.FindAllStringIndex(text, -1), []int{len(text), len(text)})
	for _, cut := range cuts {
		chunk := text[start:cut[0]]
		blank := len(chunk) - len(strings.TrimLeftFunc(chunk, unicode.IsSpace))
		if err := r.collectDocument(t, start+blank, chunk[blank:]); err != nil {
			return err
		}
		start = cut[1]
	}
	return nil
}

func (r *rendering) collectDocument(t *template, offset int, text string) error {
	if text == "" {
		return nil
	}
	docs, findings, err := manifest.Read(t.source.file, []byte(text))
	if err != nil {
		return printed(err)
	}
	for _, parsed := range docs {
		items, err := parsed.Items()
		if err != nil {
			return printed(err)
		}
		d := document{template: t, offset: offset, parsed: parsed, items: items}
		for _, item := range items {
			o := item.Build(false)
			o.Origins.Object.Line = 0
			d.objects = append(d.objects, o)
		}
		r.documents = append(r.documents, d)
	}
	for _, f := range findings {
		// The line is one of the printed text, which is in no file.
		f.Message = "what the template prints has a key twice: " + lastLineless(f.Message)
		f.Origin.Line = 0
		r.out.Findings = append(r.out.Findings, f)
	}
	return nil
}

var onLine = regexp.MustCompile(` is already on line \d+; the last one counts`)

func lastLineless(message string) string {
	return onLine.ReplaceAllString(message, "; the last one counts")
}

// printed turns an error in what a template printed into one of the template,
// whose lines are others.
func printed(err error) error {
	var e *mizzen.Error
	if !errors.As(err, &e) {
		return err
	}
	cause := e.Err
	if e.Origin.Line > 0 {
		cause = fmt.Errorf("line %d of what the template prints: %w", e.Origin.Line, e.Err)
	}
	return &mizzen.Error{
		Kind: e.Kind, Object: e.Object, Origin: mizzen.Origin{File: e.Origin.File}, Err: cause,
		Remedy: "correct the template or the values that it reads",
	}
}
