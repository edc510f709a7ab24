// Package worker runs istiod's code in a process of its own: that code keeps
// state in globals, reads untrusted objects, and needs memory that the caller
// should get back. The binary executes itself with Command; jobs and answers
// are JSON, each after its length.
package worker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/compile"
	"mizzen.dev/mizzen/internal/traffic/inject"
)

// Command is the first argument of a worker process.
const Command = "__traffic-worker"

// allowUnsandboxed is the argument of a worker that may run unconfined.
const allowUnsandboxed = "--allow-unsandboxed"

// maxFrame bounds a job and an answer, in bytes.
const maxFrame = 512 << 20

// Ask names what a job asks for.
type Ask string

// Job is one question about the mesh that objects make.
type Job struct {
	Ask Ask `json:"ask"`
	// Both are the objects of both sides, Before and After those of one. A
	// question about one mesh is about Both and After.
	Both   []Object `json:"both,omitempty"`
	Before []Object `json:"before,omitempty"`
	After  []Object `json:"after,omitempty"`
	// Compiled is the mesh of Both and Before, where another worker compiled it
	// with other flags; else nil.
	Compiled *frozen `json:"compiled,omitempty"`
	// Vantage says whose view is asked for; nil means everybody's.
	Vantage *compile.Vantage `json:"vantage,omitempty"`
	// Selections ask for workloads where none is known.
	Selections []compile.Selection `json:"selections,omitempty"`
	// MeshConfig is YAML, laid over what the objects say of the mesh.
	MeshConfig string `json:"meshConfig,omitempty"`
	// RootNamespace is istio-system if empty.
	RootNamespace string `json:"rootNamespace,omitempty"`
	// Question holds what else the Ask needs.
	Question json.RawMessage `json:"question,omitempty"`
}

// Object is an Object as it is sent to a worker.
type Object struct {
	Content map[string]any `json:"content"`
	Origins mizzen.Origins `json:"origins"`
}

// answer is what a worker says: a result, or why there is none.
type answer struct {
	Result json.RawMessage `json:"result,omitempty"`
	Kind   mizzen.Kind     `json:"kind,omitempty"`
	Object string          `json:"object,omitempty"`
	Error  string          `json:"error,omitempty"`
	Remedy string          `json:"remedy,omitempty"`
}

// err returns the error that an answer reports.
func (a answer) err() error {
	if a.Error == "" {
		return nil
	}
	return &mizzen.Error{Kind: a.Kind, Object: a.Object, Err: errors.New(a.Error), Remedy: a.Remedy}
}

func answerOf(result any, err error) answer {
	if err == nil {
		var b []byte
		if b, err = json.Marshal(result); err == nil {
			return answer{Result: b}
		}
	}
	a := answer{Kind: mizzen.KindOf(err), Error: err.Error()}
	var known *mizzen.Error
	if errors.As(err, &known) {
		a.Object, a.Error, a.Remedy = known.Object, known.Err.Error(), known.Remedy
	}
	return a
}

// Send returns objects in the form of a Job, without those that say nothing
// about traffic.
func Send(objects []mizzen.Object) []Object { return send(objects, false) }

// send does what Send does. Of objects that change, the fields of all are
// pointed at; of the others, only those of the mesh's own.
func send(objects []mizzen.Object, changed bool) []Object {
	out := make([]Object, 0, len(objects))
	for _, o := range objects {
		if !Relevant(o.Ref()) {
			continue
		}
		sent := Object{Content: o.Object, Origins: o.Origins}
		switch ref := o.Ref(); {
		case ref.Group == "" && ref.Kind == "Secret":
			sent.Content = bare(o) // that it exists matters, not what it holds
		case !changed && (ref.Group == "" || ref.Group == "apps" || ref.Group == "batch"):
			sent.Origins.Fields = nil
		}
		out = append(out, sent)
	}
	return out
}

func bare(o mizzen.Object) map[string]any {
	return map[string]any{
		"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(),
		"metadata": map[string]any{"namespace": o.GetNamespace(), "name": o.GetName()},
	}
}

// Relevant tells whether an object of this identity can matter to traffic.
func Relevant(r mizzen.Ref) bool {
	switch r.Group {
	case "":
		switch r.Kind {
		case "Namespace", "Service", "Endpoints", "Pod", "ReplicationController", "Secret":
			return true
		case "ConfigMap":
			return r.Name == "istio" || inject.Configures(r)
		}
		return false
	case "apps", "batch", "argoproj.io", "gateway.networking.k8s.io", "networking.istio.io", "security.istio.io",
		"telemetry.istio.io", "extensions.istio.io":
		return true
	case "discovery.k8s.io":
		return r.Kind == "EndpointSlice"
	case "networking.k8s.io":
		return r.Kind == "Ingress" || r.Kind == "IngressClass"
	}
	return inject.Relevant(r) || compile.Scales(r)
}

// received is the inverse of Send.
func received(lists ...[]Object) []mizzen.Object {
	var out []mizzen.Object
	for _, list := range lists {
		for _, o := range list {
			out = append(out, mizzen.Object{Unstructured: &unstructured.Unstructured{Object: o.Content}, Origins: o.Origins})
		}
	}
	return out
}

// write sends a value after its length.
func write(w io.Writer, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeEncoded(w, b)
}

func writeEncoded(w io.Writer, b []byte) error {
	if len(b) > maxFrame {
		return fmt.Errorf("%d bytes, more than %d", len(b), maxFrame)
	}
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b)))); err != nil {
		return err
	}
	_, err := w.Write(b)
	return err
}

// read takes what write sent.
func read(r io.Reader, v any) error {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return fmt.Errorf("%d bytes announced, more than %d", n, maxFrame)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
