package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"sigs.k8s.io/yaml"
)

// Schema returns the name of the form of a document, such as
// "mizzen.dev/status/v1". A field is added without a new name; one that
// changes its meaning or goes away makes a new one.
func Schema(noun string) string { return "mizzen.dev/" + noun + "/v1" }

// JSON writes a document of a schema: the fields of v, which must encode as a
// JSON object, after the field "schema".
func JSON(out io.Writer, noun string, v any) error {
	line, err := encode(noun, v)
	if err != nil {
		return err
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, line, "", "  "); err != nil {
		return err
	}
	_, err = out.Write(append(indented.Bytes(), '\n'))
	return err
}

// JSONLine is JSON on one line, for documents that follow each other.
func JSONLine(out io.Writer, noun string, v any) error {
	line, err := encode(noun, v)
	if err != nil {
		return err
	}
	_, err = out.Write(append(line, '\n'))
	return err
}

// YAML writes the same document as JSON does, as YAML.
func YAML(out io.Writer, noun string, v any) error {
	line, err := encode(noun, v)
	if err != nil {
		return err
	}
	b, err := yaml.JSONToYAML(line)
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}

func encode(noun string, v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	fields, ok := bytes.CutPrefix(bytes.TrimSpace(b.Bytes()), []byte("{"))
	if !ok {
		return nil, errors.New("report: a document must be a JSON object")
	}
	if bytes.HasPrefix(fields, []byte(`"schema":`)) {
		return escape(bytes.TrimSpace(b.Bytes())), nil // a Plan names its schema itself
	}
	head := fmt.Sprintf(`{"schema":%q`, Schema(noun))
	if !bytes.HasPrefix(fields, []byte("}")) {
		head += ","
	}
	return escape(append([]byte(head), fields...)), nil
}

// escape writes characters that steer a terminal as JSON escapes. The encoder
// does so for the first 32 and leaves the others, of which U+009B begins an
// escape sequence and U+202E turns the direction of reading round. Outside of
// strings JSON is ASCII, so that what is found stands in a string.
func escape(doc []byte) []byte {
	steers := func(r rune) bool { return r > 0x7e && r <= 0xffff && unprintable(r) }
	if !bytes.ContainsFunc(doc, steers) {
		return doc
	}
	var b bytes.Buffer
	for _, r := range string(doc) {
		if steers(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.Bytes()
}
