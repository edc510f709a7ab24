package wire

import (
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"time"

	"mizzen.dev/mizzen"
)

// Greeting is the first thing that a worker says.
type Greeting struct {
	Version int `json:"version"`
	// Sandbox is a sandbox.Report.
	Sandbox json.RawMessage `json:"sandbox"`
}

// Setup is what a worker must know before it closes its sandbox. It travels
// as an argument, since the environment of a worker is empty.
type Setup struct {
	// DataBytes and CPU bound the worker's life (RLIMIT_DATA, RLIMIT_CPU); 0
	// means unbounded.
	DataBytes uint64        `json:"dataBytes,omitempty"`
	CPU       time.Duration `json:"cpu,omitempty"`
	// Unsandboxed lets the worker serve although it could not confine itself.
	Unsandboxed bool `json:"unsandboxed,omitempty"`
	// OutputBytes and Objects bound the output of one job.
	OutputBytes int64 `json:"outputBytes"`
	Objects     int   `json:"objects"`
}

// Assignment is a job for a worker.
type Assignment struct {
	// Options are render.Options.
	Options json.RawMessage `json:"options"`
	// Timeout ends the context of the rendering. The parent kills the worker
	// a little later.
	Timeout time.Duration `json:"timeout"`
}

// Usage is what a worker has used, reported after each job.
type Usage struct {
	// CPU is the processor time since the worker started.
	CPU time.Duration `json:"cpu"`
	// MemoryBytes is what the worker holds of the machine's memory.
	MemoryBytes uint64 `json:"memoryBytes"`
	// Tainted means that the job may have changed process-global state, so
	// that another job must not follow.
	Tainted bool `json:"tainted,omitempty"`
}

// Failure is a job that ended with an error.
type Failure struct {
	Usage Usage           `json:"usage"`
	Error json.RawMessage `json:"error"`
}

// maxMessage bounds each text of an error, in bytes.
const maxMessage = 16 << 10

// carried is an error on the wire.
type carried struct {
	// Kind is empty for an error that is not a mizzen.Error.
	Kind    mizzen.Kind   `json:"kind,omitempty"`
	Object  string        `json:"object,omitempty"`
	Origin  mizzen.Origin `json:"origin,omitzero"`
	Message string        `json:"message,omitempty"`
	Remedy  string        `json:"remedy,omitempty"`
	// Missing is that the error is an fs.ErrNotExist.
	Missing bool `json:"missing,omitempty"`
}

// EncodeError returns err as JSON. Of its chain, the outermost mizzen.Error
// survives with all its parts, and so does errors.Is(err, fs.ErrNotExist).
func EncodeError(err error) []byte {
	c := carried{Message: err.Error(), Missing: errors.Is(err, fs.ErrNotExist)}
	var e *mizzen.Error
	if errors.As(err, &e) {
		c = carried{Kind: e.Kind, Object: cut(e.Object), Origin: e.Origin, Remedy: cut(e.Remedy), Missing: c.Missing}
		c.Origin.Via = nil
		if e.Err != nil {
			c.Message = e.Err.Error()
		}
	}
	c.Message = cut(c.Message)
	out, jsonErr := json.Marshal(c)
	if jsonErr != nil {
		return []byte(`{"message":"an error that cannot be encoded"}`)
	}
	return out
}

func cut(s string) string {
	if len(s) > maxMessage {
		return strings.ToValidUTF8(s[:maxMessage], "") + "…"
	}
	return s
}

// DecodeError is the inverse of EncodeError.
func DecodeError(data []byte) error {
	var c carried
	if err := json.Unmarshal(data, &c); err != nil {
		return errors.Join(ErrProtocol, err)
	}
	var cause error = &remote{message: c.Message, missing: c.Missing}
	if c.Kind == "" {
		return cause
	}
	if c.Message == "" && !c.Missing {
		cause = nil
	}
	return &mizzen.Error{Kind: c.Kind, Object: c.Object, Origin: c.Origin, Err: cause, Remedy: c.Remedy}
}

// remote is an error of the other side.
type remote struct {
	message string
	missing bool
}

func (r *remote) Error() string { return r.message }

// Is keeps what callers test for: that a file does not exist.
func (r *remote) Is(target error) bool { return r.missing && target == fs.ErrNotExist }
