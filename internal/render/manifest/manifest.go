// Package manifest reads Kubernetes objects from YAML and JSON text, as
// kubectl and Helm would, and says on which line each field was written. In:
// the bytes of a file or of a rendered template; out: documents, objects with
// their Origins, and Findings about doubtful text.
//
// Text is untrusted: it is bounded in size, depth, number of nodes and
// expansion of aliases before it is decoded.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	yamlv3 "go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
)

// A Document is one YAML document: its value as Kubernetes reads it, and its
// nodes, which know their lines.
type Document struct {
	// File is the name given to Read.
	File string
	// Line is where the root node stands, counted from 1 in the whole file.
	Line int
	// Root is the root node. Its lines count from the start of the file.
	Root *yamlv3.Node
	// Value is what JSON would give: map[string]any, []any, string, int64,
	// float64, bool or nil.
	Value any
}

var utf8BOM = []byte("\xef\xbb\xbf")

// Read splits text into documents and decodes them. Documents without content
// are left out. Errors are mizzen.Errors of Kind Invalid (or TooLarge if a
// bound is exceeded) that name file and line.
//
// Values are decoded by the library that kubectl and Helm use (YAML 1.1: yes
// and on are booleans), a duplicate key gives a Finding, and the last one
// counts.
func Read(file string, data []byte) ([]Document, []mizzen.Finding, error) {
	data = bytes.TrimPrefix(data, utf8BOM)
	if err := checkText(file, data); err != nil {
		return nil, nil, err
	}
	var docs []Document
	var findings []mizzen.Finding
	for _, chunk := range Split(data) {
		doc, err := readChunk(file, chunk)
		if err != nil {
			return nil, nil, err
		}
		if doc == nil {
			continue
		}
		docs = append(docs, *doc)
		findings = append(findings, duplicateKeys(*doc)...)
	}
	return docs, findings, nil
}

// A Chunk is the text of one document of a file.
type Chunk struct {
	// Line is the line of the file on which Text begins, counted from 1.
	Line int
	// Offset is the byte of the file at which Text begins.
	Offset int
	Text   []byte
}

// Split cuts text at the lines that begin with the document separator "---",
// as kubectl does; what follows a separator on its line belongs to the
// document.
func Split(data []byte) []Chunk {
	var chunks []Chunk
	start, startLine := 0, 1
	for offset, line := 0, 1; offset < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[offset:], '\n'); i >= 0 {
			end = offset + i + 1
		}
		if isSeparator(data[offset:end]) {
			chunks = append(chunks, Chunk{Line: startLine, Offset: start, Text: data[start:offset]})
			start, startLine = offset+len("---"), line
		}
		offset = end
	}
	return append(chunks, Chunk{Line: startLine, Offset: start, Text: data[start:]})
}

func isSeparator(line []byte) bool {
	rest, found := bytes.CutPrefix(line, []byte("---"))
	return found && (len(rest) == 0 || strings.ContainsRune(" \t\r\n", rune(rest[0])))
}

func checkText(file string, data []byte) error {
	if len(data) > maxBytes {
		return tooLarge(file, 0, fmt.Errorf("%d bytes are more than the %d that a manifest may have", len(data), maxBytes))
	}
	if utf8.Valid(data) {
		return nil
	}
	line := 1
	for rest := data; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		rest = rest[size:]
	}
	return &mizzen.Error{
		Kind:   mizzen.Invalid,
		Origin: mizzen.Origin{File: file, Line: line},
		Err:    errors.New("the text is not UTF-8"),
		Remedy: "save the file as UTF-8",
	}
}

// readChunk returns nil for a document without content.
func readChunk(file string, chunk Chunk) (*Document, error) {
	if !hasContent(chunk.Text) {
		return nil, nil
	}
	if err := checkTokens(file, chunk); err != nil {
		return nil, err
	}
	decoder := yamlv3.NewDecoder(bytes.NewReader(chunk.Text))
	var node yamlv3.Node
	if err := decoder.Decode(&node); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, syntaxError(file, chunk.Line, err)
	}
	root := node.Content[0]
	if err := checkNodes(file, chunk.Line, root); err != nil {
		return nil, err
	}
	var second yamlv3.Node
	if err := decoder.Decode(&second); err == nil {
		return nil, invalid(file, chunk.Line+second.Line-1, errors.New("a document follows without a line of ---"))
	} else if !errors.Is(err, io.EOF) {
		return nil, syntaxError(file, chunk.Line, err)
	}
	if root.Kind == yamlv3.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	Shift(root, chunk.Line-1)
	value, err := decode(chunk.Text)
	if err != nil {
		return nil, syntaxError(file, chunk.Line, err)
	}
	return &Document{File: file, Line: root.Line, Root: root, Value: value}, nil
}

// hasContent is false for comments, and for the directives (%YAML 1.2) that
// stand before a first separator.
func hasContent(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return true
		}
	}
	return false
}

func decode(text []byte) (any, error) {
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	var value any
	if err := json.Unmarshal(asJSON, &value); err != nil {
		return nil, err
	}
	return value, nil
}

// Shift moves the lines of nodes, of text that stands within a larger file. An
// alias points at a node that is moved where it is defined.
func Shift(n *yamlv3.Node, lines int) {
	n.Line += lines
	for _, child := range n.Content {
		Shift(child, lines)
	}
}

// values matches the values that a YAML library repeats, which may be secret:
// a password that begins with "*" reads like an alias.
var values = regexp.MustCompile("(?s)(anchor|cannot decode !!\\w+|cannot unmarshal !!\\w+|invalid map key:) ('.*'|`.*`|map\\[.*)")

// syntaxError moves the line in a YAML library's message to the file.
func syntaxError(file string, firstLine int, err error) error {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	message = strings.TrimPrefix(message, "error converting YAML to JSON: yaml: ")
	line := 0
	if rest, found := strings.CutPrefix(message, "line "); found {
		number, text, _ := strings.Cut(rest, ": ")
		if n, convErr := strconv.Atoi(number); convErr == nil {
			line, message = firstLine+n-1, text
			if strings.HasPrefix(text, "did not find expected") {
				line++ // the library's parser counts from 0, its scanner from 1
			}
		}
	}
	return invalid(file, line, errors.New(values.ReplaceAllString(message, "$1 …")))
}

func invalid(file string, line int, err error) error {
	return &mizzen.Error{
		Kind:   mizzen.Invalid,
		Origin: mizzen.Origin{File: file, Line: line},
		Err:    fmt.Errorf("invalid YAML: %w", err),
		Remedy: "correct the file",
	}
}
