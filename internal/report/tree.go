package report

import (
	"fmt"
	"io"

	"mizzen.dev/mizzen"
)

// Node is an object of an Application, or one that such an object owns.
type Node struct {
	Ref mizzen.Ref `json:"ref"`
	// Health is Healthy, Suspended, Progressing, Unknown, Missing or Degraded.
	Health  string `json:"health"`
	Message string `json:"message,omitempty"`
	// Deleting tells that the object waits for its finalizers.
	Deleting bool   `json:"deleting,omitempty"`
	Children []Node `json:"children,omitempty"`
}

// Tree is the objects of an Application.
type Tree struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	State     State  `json:"state"`
	Cluster   string `json:"cluster"`
	Objects   []Node `json:"objects"`
}

// bad tells whether a node, or one below it, is worth a look.
func (n Node) bad() bool {
	if n.Health != "Healthy" && n.Health != "Suspended" || n.Deleting {
		return true
	}
	for _, c := range n.Children {
		if c.bad() {
			return true
		}
	}
	return false
}

// Healthy tells whether every object is up.
func (t Tree) Healthy() bool {
	for _, n := range t.Objects {
		if n.bad() {
			return false
		}
	}
	return true
}

// TreeText writes a Tree for a terminal. Of many healthy children of one kind
// only the first few are shown, unless all are wanted.
func TreeText(out io.Writer, t Tree, all bool, s Style) error {
	w := &printer{w: out}
	w.printf("%s  %s  in %s\n", s.paint(bold, t.Namespace+"/"+t.Name), s.state(t.State), t.Cluster)
	writeNodes(w, t.Objects, "", all, true, s)
	return w.err
}

// shown is how many healthy siblings of one kind are drawn.
const shown = 3

func writeNodes(w *printer, nodes []Node, indent string, all, top bool, s Style) {
	kept, hidden := nodes, []string(nil)
	if !all && !top {
		kept, hidden = fold(nodes)
	}
	for i, n := range kept {
		last := i == len(kept)-1 && len(hidden) == 0
		branch, below := "├─ ", "│  "
		if last {
			branch, below = "└─ ", "   "
		}
		w.printf("%s%s %s", indent+branch, n.Ref, s.health(n))
		if n.Message != "" {
			w.printf("  %s", s.paint(faint, n.Message))
		}
		w.printf("\n")
		writeNodes(w, n.Children, indent+below, all, false, s)
	}
	for i, text := range hidden {
		branch := "├─ "
		if i == len(hidden)-1 {
			branch = "└─ "
		}
		w.printf("%s%s\n", indent+branch, s.paint(faint, text))
	}
}

// fold hides all but the first healthy nodes of each kind. What is bad is
// always there.
func fold(nodes []Node) (kept []Node, hidden []string) {
	seen := map[string]int{}
	var kinds []string
	for _, n := range nodes {
		if n.bad() {
			kept = append(kept, n)
			continue
		}
		if seen[n.Ref.Kind]++; seen[n.Ref.Kind] <= shown {
			kept = append(kept, n)
		} else if seen[n.Ref.Kind] == shown+1 {
			kinds = append(kinds, n.Ref.Kind)
		}
	}
	for _, kind := range kinds {
		hidden = append(hidden, fmt.Sprintf("%d more healthy %s hidden (--all shows them)", seen[kind]-shown, kind))
	}
	return kept, hidden
}

func (s Style) health(n Node) painted {
	if n.Deleting {
		return s.paint(yellow, "… Deleting")
	}
	switch n.Health {
	case "Healthy":
		return s.paint(green, "✓ Healthy")
	case "Progressing":
		return s.paint(yellow, "… Progressing")
	case "Suspended":
		return s.paint(yellow, "! Suspended")
	case "Missing", "Degraded":
		return s.paint(red, "✗ "+n.Health)
	}
	return s.paint(yellow, "? "+n.Health)
}
