package helm

import (
	"context"
	"slices"
	"strconv"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render/manifest"
)

// findOrigins tells where the objects and their fields were written. What
// cannot be proven has the file of the template and no line.
func (r *rendering) findOrigins(ctx context.Context) error {
	texts, places := markTemplates(r.templates)
	pages := map[string]*page{}
	if texts != nil {
		marked, err := r.run(ctx, withCopies(r.loaded.chart, texts), r.values, &calls{})
		if kind := mizzen.KindOf(err); kind == mizzen.Timeout || kind == mizzen.TooLarge {
			return err
		}
		// Any other error means that the copies are not believed.
		for name := range r.rendered {
			if err != nil {
				break
			}
			if p := readPage(marked[name+copied], places); p.text == r.rendered[name] {
				pages[name] = p
			}
		}
	}
	k := newKeys(r)
	for _, d := range r.documents {
		for i := range d.objects {
			d.fill(&d.objects[i], d.items[i], pages[d.template.name], k)
		}
	}
	r.spread()
	return nil
}

// spread hands the origins on to the objects of the output, which were made
// before.
func (r *rendering) spread() {
	found := map[*unstructured.Unstructured]mizzen.Origins{}
	for _, d := range r.documents {
		for _, o := range d.objects {
			found[o.Unstructured] = o.Origins
		}
	}
	for i, o := range r.out.Objects {
		if origins, ok := found[o.Unstructured]; ok {
			r.out.Objects[i].Origins = origins
		}
	}
}

// fill sets the origins of an object. Without a page no line is known.
func (d document) fill(o *mizzen.Object, item manifest.Item, p *page, k *keys) {
	unknown := mizzen.Origin{File: d.template.source.file}
	o.Origins.Object = unknown
	o.Origins.Fields = map[mizzen.Path]mizzen.Origin{}
	f := fields{document: d, page: p, keys: k, spans: map[mizzen.Path]int{}}
	if p != nil && item.Node != nil {
		if found, _, ok := f.locate(item.Node); ok {
			o.Origins.Object = found.origin()
		}
	}
	manifest.EachField(item.Node, func(path mizzen.Path, at, value *yamlv3.Node) {
		o.Origins.Fields[path] = unknown
		if p == nil {
			return
		}
		if origin, ok := f.origin(path, at, value); ok {
			o.Origins.Fields[path] = origin
		}
	})
}

// fields finds the origins of the fields of one object.
type fields struct {
	document
	page *page
	keys *keys
	// spans are where keys stand, of the fields that were visited.
	spans map[mizzen.Path]int
}

func (f fields) locate(n *yamlv3.Node) (place, int, bool) {
	offset, ok := f.page.offset(f.offset, n)
	if !ok || offset >= len(f.page.text) {
		return place{}, 0, false
	}
	found, _, ok := f.page.at(offset)
	return found, offset, ok
}

// origin returns where the value is written if it is a scalar on one line,
// else where the key is.
func (f fields) origin(path mizzen.Path, at, value *yamlv3.Node) (mizzen.Origin, bool) {
	key, keyOffset, ok := f.locate(at)
	if !ok {
		return mizzen.Origin{}, false
	}
	f.spans[path] = f.page.span(keyOffset)
	oneLine := value.Kind == yamlv3.ScalarNode && value.Style&(yamlv3.LiteralStyle|yamlv3.FoldedStyle) == 0
	if !oneLine || value.Value == "" {
		return key.origin(), true
	}
	_, offset, ok := f.locate(value)
	if !ok {
		return key.origin(), true
	}
	start, end, asItIs := f.page.content(offset, value.Value)
	found, spanEnd, ok := f.page.at(start)
	// What is put together from several texts stands where they meet.
	if !ok || !asItIs || spanEnd < end {
		return key.origin(), true
	}
	origin := found.origin()
	if found.action != nil {
		origin.Key, origin.Via = f.keys.of(found, f.within(path), value.Value)
	}
	return origin, true
}

// within returns the path of a field below the value that its action printed,
// such as limits.cpu for what toYaml printed of resources.
func (f fields) within(path mizzen.Path) []string {
	var below []string
	span := f.spans[path]
	if f.page.places[span].action == nil {
		return nil
	}
	for p := path; p != "" && f.spans[p] == span; p = p.Parent() {
		below = append(below, lastName(p))
	}
	slices.Reverse(below)
	return below
}

// lastName returns the last part of a path: the name of a key, or [3].
func lastName(p mizzen.Path) string {
	s := strings.TrimPrefix(string(p[len(p.Parent()):]), ".")
	if unquoted, err := strconv.Unquote(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err == nil && strings.HasPrefix(s, `["`) {
		return unquoted
	}
	return s
}
