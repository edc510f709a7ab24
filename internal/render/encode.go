package render

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kjson "k8s.io/apimachinery/pkg/util/json"

	"mizzen.dev/mizzen"
)

// errEncoding is wrapped by the errors of DecodeOutput.
var errEncoding = errors.New("the output of the rendering cannot be decoded")

// outputHeader is what comes before the objects.
type outputHeader struct {
	Renderer         Renderer         `json:"renderer"`
	Objects          int              `json:"objects"`
	Findings         []mizzen.Finding `json:"findings,omitempty"`
	Nondeterministic bool             `json:"nondeterministic,omitempty"`
	Consulted        Consulted        `json:"consulted,omitzero"`
	Tainted          bool             `json:"tainted,omitempty"`
}

// EncodeOutput writes the form in which an Output travels from a worker and is
// kept on disk: a header, then each object and its Origins, all of them JSON
// behind its length. Numbers and strings come back as JSON has them, which is
// how Kubernetes reads manifests: 1.0 becomes the integer 1.
func EncodeOutput(w io.Writer, o *Output) error {
	header := outputHeader{
		Renderer: o.Renderer, Objects: len(o.Objects), Findings: o.Findings,
		Nondeterministic: o.Nondeterministic, Consulted: o.Consulted, Tainted: o.Tainted,
	}
	e := encoder{w: w}
	e.json = json.NewEncoder(&e.buf)
	e.json.SetEscapeHTML(false)
	return e.encode(header, o.Objects)
}

type encoder struct {
	w    io.Writer
	buf  bytes.Buffer
	json *json.Encoder
}

func (e *encoder) encode(header outputHeader, objects []mizzen.Object) error {
	if err := e.value(header); err != nil {
		return err
	}
	for _, o := range objects {
		if o.Unstructured == nil {
			return fmt.Errorf("%w: an object is nil", errEncoding)
		}
		if err := e.value(o.Object); err != nil {
			return fmt.Errorf("%s: %w", o.Ref(), err)
		}
		if err := e.value(o.Origins); err != nil {
			return fmt.Errorf("origins of %s: %w", o.Ref(), err)
		}
	}
	return nil
}

func (e *encoder) value(v any) error {
	e.buf.Reset()
	if err := e.json.Encode(v); err != nil {
		return err
	}
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(e.buf.Len()))
	if _, err := e.w.Write(length[:n]); err != nil {
		return err
	}
	_, err := e.w.Write(e.buf.Bytes())
	return err
}

// DecodeOutput is the inverse of EncodeOutput. It trusts nothing: what does
// not add up, or has more than maxObjects objects, is an error.
func DecodeOutput(data []byte, maxObjects int) (*Output, error) {
	d := decoder{data: data}
	var header outputHeader
	if err := d.strict(&header); err != nil {
		return nil, err
	}
	if header.Objects < 0 || header.Objects > maxObjects {
		return nil, fmt.Errorf("%w: %d objects, %d are allowed", errEncoding, header.Objects, maxObjects)
	}
	out := &Output{
		Renderer: header.Renderer, Findings: header.Findings,
		Nondeterministic: header.Nondeterministic, Consulted: header.Consulted, Tainted: header.Tainted,
	}
	// No allocation by the announced number: the bytes must be there.
	for range header.Objects {
		o, err := d.object()
		if err != nil {
			return nil, err
		}
		out.Objects = append(out.Objects, o)
	}
	if len(d.data) > 0 {
		return nil, fmt.Errorf("%w: %d bytes are left over", errEncoding, len(d.data))
	}
	return out, nil
}

type decoder struct{ data []byte }

func (d *decoder) next() ([]byte, error) {
	n, used := binary.Uvarint(d.data)
	if used <= 0 || n > uint64(len(d.data)-used) {
		return nil, fmt.Errorf("%w: it is cut off", errEncoding)
	}
	value := d.data[used : used+int(n)]
	d.data = d.data[used+int(n):]
	return value, nil
}

func (d *decoder) strict(into any) error {
	raw, err := d.next()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%w: %w", errEncoding, err)
	}
	return nil
}

func (d *decoder) object() (mizzen.Object, error) {
	raw, err := d.next()
	if err != nil {
		return mizzen.Object{}, err
	}
	content := map[string]any{}
	// Whole numbers become int64, as everywhere in Kubernetes.
	if err := kjson.Unmarshal(raw, &content); err != nil {
		return mizzen.Object{}, fmt.Errorf("%w: %w", errEncoding, err)
	}
	if len(content) == 0 {
		return mizzen.Object{}, fmt.Errorf("%w: an object is empty", errEncoding)
	}
	o := mizzen.Object{Unstructured: &unstructured.Unstructured{Object: content}}
	return o, d.strict(&o.Origins)
}
