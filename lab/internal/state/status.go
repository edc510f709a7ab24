package state

import (
	"time"

	"mizzen.dev/mizzen/lab/internal/process"
)

// Phase says how a lab or a cluster is.
type Phase string

// The phases.
const (
	// Starting: on the way to Ready.
	Starting Phase = "starting"
	// Ready: everything that is wanted runs.
	Ready Phase = "ready"
	// Failed: it ended by itself; the supervisor tries again.
	Failed Phase = "failed"
	// Stopped: down because the user wants it.
	Stopped Phase = "stopped"
)

// Status is what there is, as `lab status -o json` shows it.
type Status struct {
	// APIVersion is the version of this schema.
	APIVersion string `json:"apiVersion"`
	// State is Ready if the lab runs and every wanted cluster is Ready.
	State Phase `json:"state"`
	// Dir is the state directory.
	Dir string `json:"dir"`
	// ObservedGeneration is the Generation of the Spec that this tells of.
	ObservedGeneration int64 `json:"observedGeneration"`
	// Supervisor is the process that all others are children of.
	Supervisor process.ID `json:"supervisor"`
	// StartedAt is when the supervisor started.
	StartedAt time.Time `json:"startedAt,omitzero"`
	// Message is the last failure, for people.
	Message string `json:"message,omitempty"`
	// URLs are the addresses that belong to no cluster: "git".
	URLs map[string]string `json:"urls"`
	// Clusters are sorted by number.
	Clusters []Cluster `json:"clusters"`
}

// StatusVersion is Status.APIVersion.
const StatusVersion = "lab.mizzen.dev/v1"

// Cluster is one cluster of a Status.
type Cluster struct {
	// Name is "cluster-1" for the first one, and so on.
	Name string `json:"name"`
	// State is how it is.
	State Phase `json:"state"`
	// Process runs it, if it runs.
	Process process.ID `json:"process"`
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig string `json:"kubeconfig"`
	// AuditLog is the path of the log of requests (JSON lines).
	AuditLog string `json:"auditLog"`
	// Log is the path of the log of its process.
	Log string `json:"log"`
	// Live says that it has a node whose pods run.
	Live bool `json:"live,omitempty"`
	// URLs has "api", and "git" which is the same for all clusters. Those of a
	// live cluster lead to Services inside: "gateway", "prometheus" and "load"
	// answer once such a Service is there. "tracing" is only shown while it does.
	URLs map[string]string `json:"urls"`
	// ServingSeconds, NodeSeconds and ReadySeconds are how long after its start
	// the API answered, the live node was Ready, and pods could be scheduled.
	ServingSeconds float64 `json:"servingSeconds,omitempty"`
	NodeSeconds    float64 `json:"nodeSeconds,omitempty"`
	ReadySeconds   float64 `json:"readySeconds,omitempty"`
	// Restarts counts how often it ended by itself, and Failures how often it
	// did since it was last Ready.
	Restarts int `json:"restarts"`
	Failures int `json:"failures"`
	// Message is why it failed.
	Message string `json:"message,omitempty"`
}

// ReadStatus returns the Status, Stopped if no supervisor lives.
func (d Dir) ReadStatus() (Status, error) {
	s := Status{}
	if err := d.read("status.json", &s); err != nil {
		return s, err
	}
	if !s.Supervisor.Alive() {
		s.State = Stopped
		s.Supervisor = process.ID{}
		for i := range s.Clusters {
			s.Clusters[i].State = Stopped
		}
	}
	s.APIVersion, s.Dir = StatusVersion, string(d)
	return s, nil
}

// LastStatus returns the Status as the last supervisor wrote it, alive or not.
func (d Dir) LastStatus() (Status, error) {
	var s Status
	return s, d.read("status.json", &s)
}

// WriteStatus replaces the Status. Only the supervisor does.
func (d Dir) WriteStatus(s Status) error {
	s.APIVersion, s.Dir = StatusVersion, string(d)
	return d.write("status.json", s)
}
