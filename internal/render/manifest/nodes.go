package manifest

import (
	"fmt"
	"strconv"

	yamlv3 "go.yaml.in/yaml/v3"

	"mizzen.dev/mizzen"
)

// Resolve follows an alias to what it stands for.
func Resolve(n *yamlv3.Node) *yamlv3.Node {
	for n != nil && n.Kind == yamlv3.AliasNode {
		n = n.Alias
	}
	return n
}

// Child returns the value of a mapping's key, nil if there is none. The last
// of duplicate keys counts, and a key of the mapping itself wins over one
// that is merged in.
func Child(n *yamlv3.Node, key string) *yamlv3.Node {
	_, value := Entry(n, key)
	return value
}

// Entry returns key and value of a mapping's entry, nil if there is none.
func Entry(n *yamlv3.Node, key string) (k, v *yamlv3.Node) {
	eachEntry(n, func(entryKey, entryValue *yamlv3.Node) {
		if entryKey.Value == key {
			k, v = entryKey, entryValue
		}
	})
	return k, v
}

// Element returns an element of a sequence, nil if there is none.
func Element(n *yamlv3.Node, i int) *yamlv3.Node {
	n = Resolve(n)
	if n == nil || n.Kind != yamlv3.SequenceNode || i < 0 || i >= len(n.Content) {
		return nil
	}
	return n.Content[i]
}

// eachEntry calls f for every entry of a mapping, those that are merged in
// first, so that the last call for a key is the one that counts.
func eachEntry(n *yamlv3.Node, f func(key, value *yamlv3.Node)) {
	n = Resolve(n)
	if n == nil || n.Kind != yamlv3.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			continue
		}
		merged := Resolve(n.Content[i+1])
		if merged.Kind == yamlv3.SequenceNode {
			for j := len(merged.Content) - 1; j >= 0; j-- {
				eachEntry(merged.Content[j], f)
			}
			continue
		}
		eachEntry(merged, f)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Tag != "!!merge" {
			f(n.Content[i], n.Content[i+1])
		}
	}
}

// EachField calls f for every field below n: its path, the node where it is
// written (the key in a mapping, the element in a list), and its value.
func EachField(n *yamlv3.Node, f func(p mizzen.Path, at, value *yamlv3.Node)) {
	eachField("", n, f)
}

func eachField(p mizzen.Path, n *yamlv3.Node, f func(mizzen.Path, *yamlv3.Node, *yamlv3.Node)) {
	n = Resolve(n)
	if n == nil {
		return
	}
	if n.Kind == yamlv3.SequenceNode {
		for i, element := range n.Content {
			f(p.Index(i), element, Resolve(element))
			eachField(p.Index(i), element, f)
		}
		return
	}
	eachEntry(n, func(key, value *yamlv3.Node) {
		f(p.Key(key.Value), key, Resolve(value))
		eachField(p.Key(key.Value), value, f)
	})
}

func duplicateKeys(d Document) []mizzen.Finding {
	var findings []mizzen.Finding
	var walk func(p mizzen.Path, n *yamlv3.Node)
	walk = func(p mizzen.Path, n *yamlv3.Node) {
		switch n.Kind {
		case yamlv3.SequenceNode:
			for i, element := range n.Content {
				walk(p.Index(i), element)
			}
		case yamlv3.MappingNode:
			seen := map[string]int{}
			for i := 0; i+1 < len(n.Content); i += 2 {
				key := n.Content[i]
				if first, twice := seen[key.Value]; twice && key.Tag != "!!merge" {
					findings = append(findings, duplicateKey(d, p.Key(key.Value), key, first))
				}
				seen[key.Value] = key.Line
				walk(p.Key(key.Value), n.Content[i+1])
			}
		}
	}
	walk("", d.Root)
	return findings
}

func duplicateKey(d Document, p mizzen.Path, key *yamlv3.Node, first int) mizzen.Finding {
	return mizzen.Finding{
		Code:     mizzen.CodeDuplicateKey,
		Severity: mizzen.Warning,
		Message:  fmt.Sprintf("the key %s is already on line %d; the last one counts", strconv.Quote(key.Value), first),
		Remedy:   "remove one of them",
		Ref:      d.ref(),
		Path:     p,
		Origin:   mizzen.Origin{File: d.File, Line: key.Line},
	}
}

// ref identifies the document's object as far as it can be told.
func (d Document) ref() mizzen.Ref {
	object, _ := d.Value.(map[string]any)
	metadata, _ := object["metadata"].(map[string]any)
	apiVersion, _ := object["apiVersion"].(string)
	var r mizzen.Ref
	r.Kind, _ = object["kind"].(string)
	r.Name, _ = metadata["name"].(string)
	r.Namespace, _ = metadata["namespace"].(string)
	for i := range apiVersion {
		if apiVersion[i] == '/' {
			r.Group = apiVersion[:i]
		}
	}
	if r.Kind == "" || r.Name == "" {
		return mizzen.Ref{}
	}
	return r
}
