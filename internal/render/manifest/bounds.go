package manifest

import (
	"bytes"
	"errors"
	"fmt"

	yamlv3 "go.yaml.in/yaml/v3"

	"mizzen.dev/mizzen"
)

// The bounds are far above what the API server takes (about 1.5 MiB for an
// object) and far below what hurts.
const (
	maxBytes  = 32 << 20
	maxTokens = 2_000_000
	maxNodes  = 1_000_000
	maxDepth  = 500
)

// checkTokens bounds the nodes that text can have before it is parsed, since
// each costs some 200 bytes of memory.
func checkTokens(file string, chunk Chunk) error {
	tokens := 0
	for _, mark := range []string{"\n", ",", "[", "{", "? "} {
		tokens += bytes.Count(chunk.Text, []byte(mark))
	}
	if tokens > maxTokens {
		return tooLarge(file, chunk.Line, fmt.Errorf("a document has more than %d lines and elements", maxTokens))
	}
	return nil
}

// checkNodes bounds depth, and the number of nodes after all aliases are
// expanded: a few lines of aliases can stand for billions of nodes.
func checkNodes(file string, firstLine int, root *yamlv3.Node) error {
	c := counter{sizes: map[*yamlv3.Node]int{}}
	_, err := c.size(root, 1)
	if err != nil {
		return tooLarge(file, firstLine+c.line-1, err)
	}
	return nil
}

type counter struct {
	sizes map[*yamlv3.Node]int
	line  int
}

var (
	errTooDeep = fmt.Errorf("the document is nested deeper than %d levels", maxDepth)
	errBomb    = fmt.Errorf("the document has more than %d nodes once its aliases are expanded", maxNodes)
	errCycle   = errors.New("an alias stands for something that contains it")
)

// size returns how many nodes n stands for.
func (c *counter) size(n *yamlv3.Node, depth int) (int, error) {
	c.line = n.Line
	if depth > maxDepth {
		return 0, errTooDeep
	}
	if n.Kind == yamlv3.AliasNode {
		return c.aliased(n.Alias, depth)
	}
	total := 1
	if n.Anchor != "" {
		c.sizes[n] = -1
	}
	for _, child := range n.Content {
		size, err := c.size(child, depth+1)
		if err != nil {
			return 0, err
		}
		if total += size; total > maxNodes {
			return 0, errBomb
		}
	}
	if n.Anchor != "" {
		c.sizes[n] = total
	}
	return total, nil
}

// aliased looks up what was counted where the anchor stands, which is always
// before its aliases.
func (c *counter) aliased(target *yamlv3.Node, depth int) (int, error) {
	size, known := c.sizes[target]
	switch {
	case size < 0:
		return 0, errCycle
	case !known:
		return c.size(target, depth)
	}
	return size, nil
}

func tooLarge(file string, line int, err error) error {
	return &mizzen.Error{
		Kind:   mizzen.TooLarge,
		Origin: mizzen.Origin{File: file, Line: line},
		Err:    err,
		Remedy: "make the file smaller, or write it without aliases",
	}
}
