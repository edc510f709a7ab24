package spans

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// The answers of Jaeger's query API, as its user interface reads them
// (https://www.jaegertracing.io/docs/latest/architecture/apis/#internal-http-json).
type (
	answer struct {
		Data  any `json:"data"`
		Total int `json:"total"`
	}
	jsonTrace struct {
		TraceID   string                 `json:"traceID"`
		Spans     []jsonSpan             `json:"spans"`
		Processes map[string]jsonProcess `json:"processes"`
	}
	jsonSpan struct {
		TraceID       string          `json:"traceID"`
		SpanID        string          `json:"spanID"`
		OperationName string          `json:"operationName"`
		References    []jsonReference `json:"references"`
		// StartTime and Duration are in microseconds.
		StartTime uint64 `json:"startTime"`
		Duration  uint64 `json:"duration"`
		ProcessID string `json:"processID"`
	}
	jsonReference struct {
		RefType string `json:"refType"`
		TraceID string `json:"traceID"`
		SpanID  string `json:"spanID"`
	}
	jsonProcess struct {
		ServiceName string `json:"serviceName"`
	}
)

// byDefault is how many traces are shown to who asks for no number.
const byDefault = 100

// Handler serves GET /api/services, and GET /api/traces?service=NAME with an
// optional limit.
func (s *Store) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/services", func(w http.ResponseWriter, _ *http.Request) {
		names := s.services()
		write(w, answer{names, len(names)})
	})
	mux.HandleFunc("GET /api/traces", func(w http.ResponseWriter, r *http.Request) {
		service, limit := r.FormValue("service"), byDefault
		if service == "" {
			http.Error(w, "parameter 'service' is required", http.StatusBadRequest)
			return
		}
		if text := r.FormValue("limit"); text != "" {
			var err error
			if limit, err = strconv.Atoi(text); err != nil || limit < 1 {
				http.Error(w, fmt.Sprintf("limit %q: want a number above 0", text), http.StatusBadRequest)
				return
			}
		}
		traces := []jsonTrace{}
		for _, f := range s.of(service, limit) {
			traces = append(traces, f.json())
		}
		write(w, answer{traces, len(traces)})
	})
	return mux
}

func write(w http.ResponseWriter, a answer) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a) // fails if the client has left
}

// json is the trace with its services as processes.
func (f found) json() jsonTrace {
	const microsecond = uint64(time.Microsecond)
	t := jsonTrace{TraceID: f.id, Processes: map[string]jsonProcess{}}
	processes := map[string]string{}
	for _, p := range f.spans {
		process, known := processes[p.service]
		if !known {
			process = fmt.Sprintf("p%d", len(processes)+1)
			processes[p.service], t.Processes[process] = process, jsonProcess{p.service}
		}
		references := []jsonReference{}
		if p.parent != "" {
			references = append(references, jsonReference{"CHILD_OF", f.id, p.parent})
		}
		t.Spans = append(t.Spans, jsonSpan{
			TraceID: f.id, SpanID: p.id, OperationName: p.name, References: references,
			StartTime: p.start / microsecond, Duration: p.duration / microsecond, ProcessID: process,
		})
	}
	return t
}
