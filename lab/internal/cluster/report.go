package cluster

import (
	"bufio"
	"encoding/json"
	"io"
)

// Command is the hidden command that becomes a cluster's process.
const Command = "__cluster"

// Report is a line of JSON from a cluster's process to whoever started it.
type Report struct {
	// Port is where the API listens.
	Port int `json:"port,omitempty"`
	// Phase is what has been reached.
	Phase Phase `json:"phase,omitempty"`
	// Error is why the process ends.
	Error string `json:"error,omitempty"`
}

// Reporter writes Reports.
type Reporter struct {
	encoder *json.Encoder
}

// NewReporter returns a Reporter that writes to w, usually a pipe.
func NewReporter(w io.Writer) *Reporter { return &Reporter{json.NewEncoder(w)} }

// Report writes r. A reader that is gone is a supervisor that is dead, and
// takes the writer with it: there is nobody to tell.
func (w *Reporter) Report(r Report) { _ = w.encoder.Encode(r) }

// ReadReports calls each with every Report of r until r ends.
func ReadReports(r io.Reader, each func(Report)) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		var report Report
		if err := json.Unmarshal(lines.Bytes(), &report); err == nil {
			each(report)
		}
	}
}
