package policy

import (
	"fmt"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"mizzen.dev/mizzen"
)

// decoder reads YAML nodes strictly: every error names the line and what to do.
type decoder struct{ file string }

// field reads the value of one field.
type field func(*yaml.Node) error

func (d decoder) fail(n *yaml.Node, remedy, format string, args ...any) error {
	return &mizzen.Error{
		Kind: mizzen.Invalid, Origin: mizzen.Origin{File: d.file, Line: n.Line},
		Err: fmt.Errorf(format, args...), Remedy: remedy,
	}
}

// fields reads a mapping whose keys are all known and occur once.
func (d decoder) fields(n *yaml.Node, knownFields map[string]field) error {
	if n.Kind != yaml.MappingNode {
		return d.fail(n, "write a mapping with: "+known(knownFields), "%s is no mapping", describe(n))
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		read, ok := knownFields[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode || !ok:
			return d.fail(key, "the fields here are: "+known(knownFields), "unknown field %s", describe(key))
		case seen[key.Value]:
			return d.fail(key, "remove one of them", "field %s is there twice", key.Value)
		}
		seen[key.Value] = true
		if err := read(value); err != nil {
			return err
		}
	}
	return nil
}

// list reads a sequence of at most so many elements.
func (d decoder) list(n *yaml.Node, most int, each field) error {
	if n.Kind != yaml.SequenceNode {
		return d.fail(n, "write a list", "%s is no list", describe(n))
	}
	if len(n.Content) > most {
		return d.fail(n, "remove some", "the list has more than %d elements", most)
	}
	for _, e := range n.Content {
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

func (d decoder) text(n *yaml.Node) (string, error) { return d.longText(n, maxText) }

func (d decoder) longText(n *yaml.Node, most int) (string, error) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		return "", d.fail(n, "write a text; put it into quotes if it looks like something else", "%s is no text", describe(n))
	}
	if len(n.Value) > most || !utf8.ValidString(n.Value) {
		return "", d.fail(n, "shorten it", "the text has more than %d bytes", most)
	}
	return n.Value, nil
}

// describe says what a node is, in few words.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias (*" + n.Value + ")"
	case yaml.ScalarNode, yaml.DocumentNode:
	}
	if n.Value == "" {
		return "an empty value"
	}
	const most = 60
	runes := []rune(n.Value)
	return fmt.Sprintf("%q", string(runes[:min(len(runes), most)]))
}
