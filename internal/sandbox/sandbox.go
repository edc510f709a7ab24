// Package sandbox takes from the calling process, for ever, everything that a
// rendering does not need: files, network, other processes, its environment,
// and more than its share of memory and processor time. What is left is to
// compute, and to talk through the pipes that are already open.
//
// It works without user namespaces, which many containers refuse: seccomp and
// Landlock need no privilege once no_new_privs is set.
package sandbox

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

// Protection names one layer of the sandbox.
type Protection string

// The layers. Any one of the last two alone keeps a worker from files; Landlock
// is the one that older kernels lack.
const (
	// NoNewPrivs: no program that the process might start gains rights.
	NoNewPrivs Protection = "no_new_privs"
	// Descriptors: nothing is open but standard input, output and error.
	Descriptors Protection = "closed descriptors"
	// Environment: it is empty, and the working directory is /.
	Environment Protection = "empty environment"
	// Limits: bounds of memory, processor time, files and core dumps.
	Limits Protection = "resource limits"
	// Seccomp: system calls that are not needed for computing fail.
	Seccomp Protection = "seccomp"
	// Landlock: no file can be reached, no TCP port, no process outside.
	Landlock Protection = "landlock"
)

// required are the layers without which a process does not count as confined.
// Landlock repeats what seccomp forbids already, so its absence is reported
// but tolerated.
var required = []Protection{NoNewPrivs, Descriptors, Environment, Limits, Seccomp}

// Gap is a layer that is not there, with the reason.
type Gap struct {
	Protection Protection `json:"protection"`
	Reason     string     `json:"reason"`
}

// Report says which layers are active, or would be.
type Report struct {
	Active  []Protection `json:"active,omitempty"`
	Missing []Gap        `json:"missing,omitempty"`
}

// Confined reports whether every required layer is active.
func (r Report) Confined() bool {
	for _, p := range required {
		if !slices.Contains(r.Active, p) {
			return false
		}
	}
	return true
}

// String returns the active layers, and what is missing with the reason.
func (r Report) String() string {
	names := make([]string, len(r.Active))
	for i, p := range r.Active {
		names[i] = string(p)
	}
	s := "active: " + strings.Join(names, ", ")
	if len(names) == 0 {
		s = "active: none"
	}
	if len(r.Missing) > 0 {
		s += "; missing: " + r.gaps()
	}
	return s
}

func (r Report) gaps() string {
	gaps := make([]string, len(r.Missing))
	for i, g := range r.Missing {
		gaps[i] = string(g.Protection) + " (" + g.Reason + ")"
	}
	return strings.Join(gaps, ", ")
}

// Err returns nil if the process is confined, else what is missing.
func (r Report) Err() error {
	if r.Confined() {
		return nil
	}
	return errors.New("missing " + r.gaps())
}

// Encode returns the report as JSON.
func (r Report) Encode() []byte {
	out, err := json.Marshal(r)
	if err != nil {
		return []byte("{}")
	}
	return out
}

func (r *Report) add(p Protection, err error) {
	if err != nil {
		r.Missing = append(r.Missing, Gap{Protection: p, Reason: err.Error()})
		return
	}
	r.Active = append(r.Active, p)
}

// Bounds is how much a confined process may use. Zero means no bound.
type Bounds struct {
	// DataBytes bounds writable private memory (RLIMIT_DATA). RLIMIT_AS would
	// be of no use, since Go reserves addresses far beyond what it uses.
	DataBytes uint64
	// CPU bounds the processor time of the whole life of the process. It is
	// rounded up to seconds.
	CPU time.Duration
}
