package helm

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"

	chart "helm.sh/helm/v4/pkg/chart/v2"

	"mizzen.dev/mizzen"
)

// A template is one file of templates/ of a chart or a dependency.
type template struct {
	// name is Helm's: chart/charts/alias/templates/x.yaml.
	name   string
	source source
	text   string
	chart  *chart.Chart
	// scope are the names that lead from the root's values to the chart's.
	scope []string
	// trees are the parsed text: the file itself by its name, and its defines
	// by theirs.
	trees map[string]*parse.Tree
}

// partial reports whether the file is not rendered by itself.
func (t *template) partial() bool { return strings.HasPrefix(path.Base(t.name), "_") }

// parseTemplates parses the templates of a chart and its dependencies, to look
// into them; Helm's engine parses for itself.
func parseTemplates(l *loaded) (map[string]*template, error) {
	all := map[string]*template{}
	var failure error
	eachChart(l.chart, nil, func(c *chart.Chart, scope []string) {
		for _, f := range c.Templates {
			t := &template{
				name: path.Join(c.ChartFullPath(), f.Name), source: l.sources[f], text: string(f.Data), chart: c, scope: scope,
			}
			// Of a library chart only the partials count.
			if c.Metadata.Type == "library" && !t.partial() {
				continue
			}
			tree := parse.New(t.name)
			tree.Mode = parse.SkipFuncCheck
			t.trees = map[string]*parse.Tree{}
			if _, err := tree.Parse(t.text, "", "", t.trees); err != nil && failure == nil {
				failure = templateError(err, map[string]*template{t.name: t})
			}
			all[t.name] = t
		}
	})
	if failure != nil {
		return nil, failure
	}
	return all, nil
}

// line returns the line of a position in the text.
func (t *template) line(at parse.Pos) int {
	return 1 + strings.Count(t.text[:min(int(at), len(t.text))], "\n")
}

// names returns the names of templates in order.
func names(templates map[string]*template) []string { return slices.Sorted(maps.Keys(templates)) }

// templateError gives an error of the template engine the place that it tells.
// The engine names places by Helm's names, the innermost last.
func templateError(err error, templates map[string]*template) error {
	text := err.Error()
	var at mizzen.Origin
	last := -1
	for _, name := range names(templates) {
		t := templates[name]
		if i := strings.LastIndex(text, name+":"); i > last {
			last = i
			at = mizzen.Origin{File: t.source.file}
			digits := leadingDigits(text[i+len(name)+1:])
			if line, convErr := strconv.Atoi(digits); convErr == nil && !t.source.archived {
				at.Line = line
			}
		}
	}
	for _, name := range names(templates) {
		if t := templates[name]; !t.source.archived {
			text = strings.ReplaceAll(text, name+":", t.source.file+":")
		}
	}
	return &mizzen.Error{
		Kind: mizzen.Invalid, Origin: at, Err: errors.New(oneLine(text)),
		Remedy: "correct the template or the values that it reads",
	}
}

func leadingDigits(s string) string {
	return s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
}

// eachNode calls f for every node below n.
func eachNode(n parse.Node, f func(parse.Node)) {
	f(n)
	switch n := n.(type) {
	case *parse.ListNode:
		for _, child := range n.Nodes {
			eachNode(child, f)
		}
	case *parse.ActionNode:
		eachNode(n.Pipe, f)
	case *parse.TemplateNode:
		eachPipe(n.Pipe, f)
	case *parse.IfNode:
		eachBranch(&n.BranchNode, f)
	case *parse.RangeNode:
		eachBranch(&n.BranchNode, f)
	case *parse.WithNode:
		eachBranch(&n.BranchNode, f)
	default:
		eachPart(n, f)
	}
}

// eachPart visits the parts of a pipeline.
func eachPart(n parse.Node, f func(parse.Node)) {
	switch n := n.(type) {
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			eachNode(c, f)
		}
	case *parse.CommandNode:
		for _, arg := range n.Args {
			eachNode(arg, f)
		}
	case *parse.ChainNode:
		eachNode(n.Node, f)
	}
}

func eachPipe(p *parse.PipeNode, f func(parse.Node)) {
	if p != nil {
		eachNode(p, f)
	}
}

func eachBranch(b *parse.BranchNode, f func(parse.Node)) {
	eachPipe(b.Pipe, f)
	for _, list := range []*parse.ListNode{b.List, b.ElseList} {
		if list != nil {
			eachNode(list, f)
		}
	}
}

// eachTree calls f for every tree of every template, in order.
func eachTree(templates map[string]*template, f func(t *template, tree *parse.Tree)) {
	for _, name := range names(templates) {
		t := templates[name]
		for _, define := range slices.Sorted(maps.Keys(t.trees)) {
			if tree := t.trees[define]; tree.Root != nil {
				f(t, tree)
			}
		}
	}
}

// sites returns where a function is called.
func sites(templates map[string]*template, function string) []mizzen.Origin {
	var all []mizzen.Origin
	eachTree(templates, func(t *template, tree *parse.Tree) {
		eachNode(tree.Root, func(n parse.Node) {
			if id, ok := n.(*parse.IdentifierNode); ok && id.Ident == function {
				at := mizzen.Origin{File: t.source.file}
				if !t.source.archived {
					at.Line = t.line(id.Position())
				}
				all = append(all, at)
			}
		})
	})
	return all
}

// usesTpl reports whether values or files can bring templates of their own.
func usesTpl(templates map[string]*template) bool { return len(sites(templates, "tpl")) > 0 }

// nondeterminism reports the unstable functions that were called. The line is
// told if there is but one place that can have called.
func nondeterminism(templates map[string]*template, called []string) []mizzen.Finding {
	var findings []mizzen.Finding
	for _, name := range called {
		f := mizzen.Finding{
			Code: mizzen.CodeNondeterministic, Severity: mizzen.Warning,
			Message: fmt.Sprintf("the template calls %s, which gives another result every time", name),
			Remedy:  "set the value that the chart makes up otherwise; until an input changes, the last result is kept",
		}
		at := sites(templates, name)
		switch {
		case len(at) == 1 && !usesTpl(templates):
			f.Origin = at[0]
		case len(at) > 0:
			f.Origin = mizzen.Origin{File: at[0].File}
			f.Message += "; it may be at " + list(at, 5)
		}
		findings = append(findings, f)
	}
	return findings
}

// list names the first places.
func list(at []mizzen.Origin, most int) string {
	texts := make([]string, 0, most)
	for _, o := range at[:min(len(at), most)] {
		texts = append(texts, o.String())
	}
	text := strings.Join(slices.Compact(texts), ", ")
	if len(at) > most {
		text += fmt.Sprintf(" and %d more", len(at)-most)
	}
	return text
}
