package helm

import (
	"bytes"
	"slices"
	"text/template/parse"

	chart "helm.sh/helm/v4/pkg/chart/v2"
)

// The parts of a template's root that are no files, by the field that leads to
// each.
var (
	capabilityFields = []string{"Capabilities"}
	releaseFields    = []string{"IsUpgrade", "IsInstall"}
)

// consult finds out whether templates can have looked at capabilities and at
// IsUpgrade. A wrong yes costs a rendering too many, a wrong no would keep a
// stale result: so whatever is not plain counts as yes.
func (r *rendering) consult() {
	s := &r.out.Consulted
	eachTree(r.templates, func(_ *template, tree *parse.Tree) {
		w := mentions{}
		w.list(tree.Root, true)
		s.Capabilities = s.Capabilities || w.capabilities || w.everything
		s.IsUpgrade = s.IsUpgrade || w.release || w.everything
	})
	if !usesTpl(r.templates) {
		return
	}
	// Values and files may be templates too.
	s.Capabilities = s.Capabilities || r.textMentions(capabilityFields)
	s.IsUpgrade = s.IsUpgrade || r.textMentions(append(releaseFields, "Release }}", "Release)", "Release |"))
}

// textMentions reports whether a word stands in any file or value.
func (r *rendering) textMentions(words []string) bool {
	found := false
	look := func(text []byte) {
		for _, w := range words {
			found = found || bytes.Contains(text, []byte(w))
		}
	}
	eachChart(r.loaded.chart, nil, func(c *chart.Chart, _ []string) {
		for _, f := range slices.Concat(c.Files, c.Raw) {
			look(f.Data)
		}
	})
	for _, f := range r.given.files {
		look(f.text)
	}
	look(asText(r.given.inline))
	return found
}

// mentions walks a template and notes what it refers to.
type mentions struct {
	capabilities, release, everything bool
}

// list visits nodes. root says whether dot may be the root of everything here.
func (w *mentions) list(l *parse.ListNode, root bool) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			w.pipe(n.Pipe, root)
		case *parse.TemplateNode:
			if n.Pipe != nil {
				w.pipe(n.Pipe, root)
			}
		case *parse.IfNode:
			w.branch(&n.BranchNode, root, root)
		case *parse.RangeNode:
			w.branch(&n.BranchNode, root, w.rootElements(n.Pipe, root))
		case *parse.WithNode:
			w.branch(&n.BranchNode, root, isRoot(n.Pipe, root))
		}
	}
}

func (w *mentions) branch(b *parse.BranchNode, root, inner bool) {
	w.pipe(b.Pipe, root)
	w.list(b.List, inner)
	w.list(b.ElseList, root)
}

// rootElements reports whether an element that a range visits may be the root.
// A range over the root itself visits capabilities and release.
func (w *mentions) rootElements(p *parse.PipeNode, root bool) bool {
	if len(p.Cmds) == 1 && len(p.Cmds[0].Args) == 1 && isRoot(p, root) {
		w.everything = true
	}
	return isRoot(p, root)
}

// isRoot reports whether the root has a part in what a pipeline yields. Only
// dot and $ stand for it: a variable that dot is assigned to was noted there.
func isRoot(p *parse.PipeNode, root bool) bool {
	found := false
	eachNode(p, func(n parse.Node) {
		switch n := n.(type) {
		case *parse.DotNode:
			found = found || root
		case *parse.VariableNode:
			found = found || len(n.Ident) == 1 && n.Ident[0] == "$"
		}
	})
	return found
}

func (w *mentions) pipe(p *parse.PipeNode, root bool) {
	for _, cmd := range p.Cmds {
		w.command(cmd, root)
	}
}

// passes are the functions that hand the root on to what is inspected itself.
var passes = []string{"include", "tpl", "dict", "list", "set", "omit", "merge", "mustMerge", "mergeOverwrite", "mustMergeOverwrite", "deepCopy", "empty", "not", "and", "or", "hasKey"}

func (w *mentions) command(cmd *parse.CommandNode, root bool) {
	function := ""
	if id, ok := cmd.Args[0].(*parse.IdentifierNode); ok {
		function = id.Ident
	}
	for _, arg := range cmd.Args {
		switch n := arg.(type) {
		case *parse.FieldNode:
			w.fields(n.Ident)
		case *parse.VariableNode:
			w.fields(n.Ident[1:])
			w.handedOn(len(n.Ident) == 1 && n.Ident[0] == "$", function)
		case *parse.ChainNode:
			w.fields(n.Field)
			w.node(n.Node, root)
		case *parse.DotNode:
			w.handedOn(root, function)
		case *parse.PipeNode:
			w.pipe(n, root)
		case *parse.StringNode:
			w.word(n.Text)
		}
	}
}

func (w *mentions) node(n parse.Node, root bool) {
	if p, ok := n.(*parse.PipeNode); ok {
		w.pipe(p, root)
	}
}

// handedOn notes the root as an argument. Printed or ranged over, it shows
// everything.
func (w *mentions) handedOn(isRoot bool, function string) {
	if isRoot && !slices.Contains(passes, function) {
		w.everything = true
	}
}

func (w *mentions) word(s string) {
	w.capabilities = w.capabilities || s == "Capabilities"
	w.release = w.release || s == "Release" || slices.Contains(releaseFields, s)
}

// fields notes a chain such as .Release.IsUpgrade. The whole Release shows
// IsUpgrade too.
func (w *mentions) fields(chain []string) {
	for i, name := range chain {
		w.capabilities = w.capabilities || slices.Contains(capabilityFields, name)
		w.release = w.release || slices.Contains(releaseFields, name) || name == "Release" && i == len(chain)-1
	}
}
