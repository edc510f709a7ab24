package helm

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"

	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"

	"mizzen.dev/mizzen"
)

// To know where what a template prints was written, the chart is rendered a
// second time with marked copies of its templates beside the originals. In a
// copy, every text and every action is preceded by a mark: a character of
// Unicode's private planes that stands for its place.
//
// Marks must not change what is printed. So the text of a copy is written from
// the parsed tree, in which blanks are already trimmed, and marks only go where
// output goes straight to the page: a copy includes the marked copy of another
// template only if the result is printed as it is or indented. Whether that
// held is not assumed but tested: a template is believed only if its marked
// output, without the marks, is what the original printed, byte for byte.
const (
	firstMark = 0xF0000
	lastMark  = 0x10FFFD
	// copied ends the names of marked copies of templates and defines.
	copied = "\U0010FFFE"
)

// A place is what a mark stands for.
type place struct {
	template *template
	line     int
	// action is nil for text, which continues with the next line after each
	// line break.
	action *parse.ActionNode
	// root is set if dot is the root of the chart's values at the action.
	root bool
}

func (p place) origin() mizzen.Origin {
	return mizzen.Origin{File: p.template.source.file, Line: p.line}
}

// marker writes marked copies.
type marker struct {
	templates map[string]*template
	defines   map[string]bool
	places    []place
	full      bool

	current *template
	out     strings.Builder
}

// markTemplates returns the texts of marked copies by the name of their
// originals, and what the marks stand for. It returns nil if there are more
// places than marks.
func markTemplates(templates map[string]*template) (map[string]string, []place) {
	m := &marker{templates: templates, defines: map[string]bool{}}
	eachTree(templates, func(t *template, tree *parse.Tree) {
		if tree.Name != t.name {
			m.defines[tree.Name] = true
		}
	})
	texts := map[string]string{}
	for _, name := range names(templates) {
		t := templates[name]
		if strings.ContainsFunc(t.text, isMark) {
			return nil, nil
		}
		texts[name] = m.copy(t)
	}
	if m.full {
		return nil, nil
	}
	return texts, m.places
}

func isMark(r rune) bool { return r >= firstMark }

func (m *marker) copy(t *template) string {
	m.current = t
	m.out.Reset()
	for _, define := range slices.Sorted(maps.Keys(t.trees)) {
		tree := t.trees[define]
		if tree.Root == nil {
			continue
		}
		if define == t.name {
			m.list(tree.Root, true)
			continue
		}
		m.out.WriteString("{{define " + strconv.Quote(define+copied) + "}}")
		m.list(tree.Root, false)
		m.out.WriteString("{{end}}")
	}
	return m.out.String()
}

func (m *marker) mark(at parse.Pos, action *parse.ActionNode, root bool) {
	if len(m.places) > lastMark-firstMark {
		m.full = true
		return
	}
	m.out.WriteRune(rune(firstMark + len(m.places)))
	p := place{template: m.current, action: action, root: root}
	// What is in an archive has no line in the repository.
	if !m.current.source.archived {
		p.line = m.current.line(at)
	}
	m.places = append(m.places, p)
}

// list writes nodes. root says whether dot is the root of values there.
func (m *marker) list(l *parse.ListNode, root bool) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			m.text(n)
		case *parse.ActionNode:
			m.action(n, root)
		case *parse.TemplateNode:
			m.template(n)
		case *parse.IfNode:
			m.branch("if", &n.BranchNode, root, root)
		case *parse.RangeNode:
			m.branch("range", &n.BranchNode, root, false)
		case *parse.WithNode:
			m.branch("with", &n.BranchNode, root, false)
		default:
			m.out.WriteString(n.String())
		}
	}
}

func (m *marker) text(n *parse.TextNode) {
	if len(n.Text) > 0 {
		m.mark(n.Pos, nil, false)
		m.out.WriteString(escape(string(n.Text)))
	}
}

func (m *marker) action(n *parse.ActionNode, root bool) {
	if len(n.Pipe.Decl) == 0 {
		m.mark(n.Pos, n, root)
	}
	m.out.WriteString("{{" + m.pipe(n.Pipe) + "}}")
}

// escape writes text so that the brace at its end does not run together with
// those of an action that follows.
func escape(text string) string {
	kept := strings.TrimRight(text, "{")
	if kept == text {
		return text
	}
	return kept + "{{" + strconv.Quote(text[len(kept):]) + "}}"
}

func (m *marker) branch(keyword string, b *parse.BranchNode, root, inner bool) {
	m.out.WriteString("{{" + keyword + " " + b.Pipe.String() + "}}")
	m.list(b.List, inner)
	if b.ElseList != nil {
		m.out.WriteString("{{else}}")
		m.list(b.ElseList, root)
	}
	m.out.WriteString("{{end}}")
}

func (m *marker) template(n *parse.TemplateNode) {
	name := n.Name
	if m.defines[name] {
		name += copied
	}
	m.out.WriteString("{{template " + strconv.Quote(name))
	if n.Pipe != nil {
		m.out.WriteString(" " + n.Pipe.String())
	}
	m.out.WriteString("}}")
}

// pipe returns the text of a pipeline; one that prints an include as it is, or
// indented, includes the marked copy.
func (m *marker) pipe(p *parse.PipeNode) string {
	name, ok := m.printsInclude(p)
	if !ok {
		return p.String()
	}
	include := *p.Cmds[0]
	include.Args = slices.Clone(include.Args)
	include.Args[1] = &parse.StringNode{NodeType: parse.NodeString, Quoted: strconv.Quote(name + copied), Text: name + copied}
	parts := []string{include.String()}
	for _, cmd := range p.Cmds[1:] {
		parts = append(parts, cmd.String())
	}
	return strings.Join(parts, " | ")
}

func (m *marker) printsInclude(p *parse.PipeNode) (string, bool) {
	if len(p.Decl) > 0 || len(p.Cmds) == 0 || function(p.Cmds[0]) != "include" || len(p.Cmds[0].Args) != 3 {
		return "", false
	}
	for _, cmd := range p.Cmds[1:] {
		if f := function(cmd); f != "indent" && f != "nindent" {
			return "", false
		}
	}
	name, ok := p.Cmds[0].Args[1].(*parse.StringNode)
	if !ok || !m.defines[name.Text] {
		return "", false
	}
	return name.Text, true
}

// function returns the name of the function that a command calls, or "".
func function(cmd *parse.CommandNode) string {
	if id, ok := cmd.Args[0].(*parse.IdentifierNode); ok {
		return id.Ident
	}
	return ""
}

// withCopies returns a chart and its dependencies with the marked copies
// beside the originals.
func withCopies(c *chart.Chart, texts map[string]string) *chart.Chart {
	twin := *c
	twin.Templates = slices.Clone(c.Templates)
	for _, f := range c.Templates {
		if text, ok := texts[path.Join(c.ChartFullPath(), f.Name)]; ok {
			twin.Templates = append(twin.Templates, &common.File{Name: f.Name + copied, Data: []byte(text)})
		}
	}
	below := make([]*chart.Chart, 0, len(c.Dependencies()))
	for _, d := range c.Dependencies() {
		below = append(below, withCopies(d, texts))
	}
	twin.SetDependencies(below...)
	return &twin
}
