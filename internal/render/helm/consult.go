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
	w := mentions{aliases: map[string]bool{"$": true}}
	// Twice, since a name may be given to the root after it is used.
	for range 2 {
		eachTree(r.templates, func(_ *template, tree *parse.Tree) { w.list(tree.Root, true) })
	}
	s.Capabilities = s.Capabilities || w.capabilities || w.everything
	s.IsUpgrade = w.release || w.everything
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

// mentions walks templates and notes what they refer to.
type mentions struct {
	capabilities, release, everything bool
	// aliases are the names under which the root is handed on: variables, and
	// keys of dicts such as "context".
	aliases map[string]bool
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
			w.rangeOver(n, root)
		case *parse.WithNode:
			w.branch(&n.BranchNode, root, w.carries(n.Pipe, root))
		}
	}
}

func (w *mentions) branch(b *parse.BranchNode, root, inner bool) {
	w.pipe(b.Pipe, root)
	w.list(b.List, inner)
	w.list(b.ElseList, root)
}

// rangeOver visits a range. One over the root itself visits capabilities and
// release; an element of what holds the root may be the root.
func (w *mentions) rangeOver(n *parse.RangeNode, root bool) {
	holds := w.carries(n.Pipe, root)
	if holds && len(n.Pipe.Cmds) == 1 && len(n.Pipe.Cmds[0].Args) == 1 {
		w.everything = true
	}
	w.branch(&n.BranchNode, root, holds)
}

// The functions that the root may be given to: passes lead to a template that
// is walked itself, or tell nothing of it; carriers yield something that holds
// it. Whatever else is given the root may print all of it.
var (
	passes   = []string{"include", "tpl", "empty", "not", "hasKey"}
	carriers = []string{
		"dict", "list", "set", "omit", "merge", "mustMerge", "mergeOverwrite", "mustMergeOverwrite", "deepCopy",
		"default", "and", "or", "coalesce", "ternary",
	}
)

func (w *mentions) pipe(p *parse.PipeNode, root bool) {
	carried := false
	for _, cmd := range p.Cmds {
		if name := function(cmd); carried && !slices.Contains(passes, name) && !slices.Contains(carriers, name) {
			w.everything = true
		}
		w.command(cmd, root, len(p.Decl) > 0)
		carried = carried || w.commandCarries(cmd, root)
	}
	for _, v := range p.Decl {
		if carried {
			w.aliases[v.Ident[0]] = true
		}
	}
}

// command notes the arguments of a command; declared is set if its result is
// kept in a variable and not printed.
func (w *mentions) command(cmd *parse.CommandNode, root, declared bool) {
	name := function(cmd)
	shown := !slices.Contains(passes, name) && !slices.Contains(carriers, name) && !byName(cmd) && (name != "" || !declared)
	for i, arg := range cmd.Args {
		w.argument(arg, root)
		if !w.carries(arg, root) {
			continue
		}
		w.everything = w.everything || shown
		if key, ok := before(cmd.Args, i); ok && slices.Contains(carriers, name) {
			w.aliases[key] = true
		}
	}
}

// byName reports whether a command takes a field by a name that is written
// there: index . "Release".
func byName(cmd *parse.CommandNode) bool {
	if name := function(cmd); name != "index" && name != "get" || len(cmd.Args) < 3 {
		return false
	}
	return !slices.ContainsFunc(cmd.Args[2:], func(n parse.Node) bool {
		_, literal := n.(*parse.StringNode)
		return !literal
	})
}

// before returns the string that stands before an argument: in a dict, its
// key.
func before(args []parse.Node, i int) (string, bool) {
	if i == 0 {
		return "", false
	}
	key, ok := args[i-1].(*parse.StringNode)
	if !ok {
		return "", false
	}
	return key.Text, true
}

func (w *mentions) argument(arg parse.Node, root bool) {
	switch n := arg.(type) {
	case *parse.FieldNode:
		w.fields(n.Ident)
	case *parse.VariableNode:
		w.fields(n.Ident[1:])
	case *parse.ChainNode:
		w.fields(n.Field)
		w.argument(n.Node, root)
	case *parse.PipeNode:
		w.pipe(n, root)
	case *parse.StringNode:
		w.word(n.Text)
	}
}

// carries reports whether an argument is the root, or holds it.
func (w *mentions) carries(arg parse.Node, root bool) bool {
	switch n := arg.(type) {
	case *parse.DotNode:
		return root
	case *parse.VariableNode:
		return w.aliases[n.Ident[len(n.Ident)-1]]
	case *parse.FieldNode:
		return w.aliases[n.Ident[len(n.Ident)-1]]
	case *parse.ChainNode:
		return w.aliases[n.Field[len(n.Field)-1]]
	case *parse.PipeNode:
		return slices.ContainsFunc(n.Cmds, func(c *parse.CommandNode) bool { return w.commandCarries(c, root) })
	}
	return false
}

// commandCarries reports whether the result of a command holds the root.
func (w *mentions) commandCarries(cmd *parse.CommandNode, root bool) bool {
	if len(cmd.Args) > 1 && !slices.Contains(carriers, function(cmd)) {
		return false
	}
	return slices.ContainsFunc(cmd.Args, func(arg parse.Node) bool { return w.carries(arg, root) })
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
