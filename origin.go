package mizzen

import (
	"strconv"
	"strings"
)

// Origin is a place in a Snapshot.
type Origin struct {
	// File is the path within the repository, slash-separated. Empty: unknown.
	File string `json:"file,omitempty"`
	// Line counts from 1; 0 means that the line is not known. A line is never
	// a guess: a renderer that cannot prove it leaves it out.
	Line int `json:"line,omitempty"`
	// Key is the Helm values key that alone yields the value, if there is one.
	Key string `json:"key,omitempty"`
	// Via lists the files that also shaped the object, in order: for
	// Kustomize the base and then each patch, for Helm the values file that
	// sets Key.
	Via []Origin `json:"via,omitempty"`
}

// String returns "file:line", "file" where the line is unknown, or "".
func (o Origin) String() string {
	if o.Line == 0 {
		return o.File
	}
	return o.File + ":" + strconv.Itoa(o.Line)
}

// Origins says where an object and each of its fields were written.
type Origins struct {
	// Object is where the object as a whole begins.
	Object Origin `json:"object"`
	// Fields maps a field path (see Path) to its place. A field without an
	// entry belongs to its nearest parent that has one.
	Fields map[Path]Origin `json:"fields,omitempty"`
}

// Of returns the origin of a field: its own entry, else the file of the
// nearest parent without a line, since the parent's line is not the field's.
func (o Origins) Of(p Path) Origin {
	if found, ok := o.Fields[p]; ok {
		return found
	}
	for parent := p.Parent(); parent != ""; parent = parent.Parent() {
		if found, ok := o.Fields[parent]; ok {
			return Origin{File: found.File, Via: found.Via}
		}
	}
	return Origin{File: o.Object.File, Via: o.Object.Via}
}

// At returns the place to show for a field: its line, or that of the object
// where the line is not known.
func (o Origins) At(p Path) Origin {
	if p != "" {
		if at := o.Of(p); at.Line > 0 {
			return at
		}
	}
	return o.Object
}

// Path names a field within an object: spec.http[0].route[1].weight, and
// metadata.labels["app.kubernetes.io/name"] for a key that holds a dot, a
// bracket or a quote. The empty path is the whole object.
type Path string

// Key returns the path of a field of the map at p.
func (p Path) Key(name string) Path {
	if name == "" || strings.ContainsAny(name, `.[]"`) {
		return p + Path("["+strconv.Quote(name)+"]")
	}
	if p == "" {
		return Path(name)
	}
	return p + Path("."+name)
}

// Index returns the path of an element of the list at p.
func (p Path) Index(i int) Path { return p + Path("["+strconv.Itoa(i)+"]") }

// Parent returns the path of the enclosing map or list; "" for a top field.
func (p Path) Parent() Path {
	s := string(p)
	if !strings.HasSuffix(s, "]") {
		return p[:max(0, strings.LastIndexByte(s, '.'))]
	}
	if !strings.HasSuffix(s, `"]`) {
		return p[:max(0, strings.LastIndexByte(s, '['))]
	}
	// A quoted key may itself hold brackets: find the unescaped opening quote.
	for i := len(s) - 3; i > 0; i-- {
		if s[i] == '"' && s[i-1] == '[' {
			if _, err := strconv.Unquote(s[i : len(s)-1]); err == nil {
				return p[:i-1]
			}
		}
	}
	return ""
}
