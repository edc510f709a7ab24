package state

import "slices"

// Spec is what the user wants.
type Spec struct {
	// Generation grows with each change.
	Generation int64 `json:"generation"`
	// Clusters is how many clusters there are.
	Clusters int `json:"clusters"`
	// Nodes is how many kwok nodes each new cluster gets.
	Nodes int `json:"nodes"`
	// Live says that each cluster has a node whose pods run, beside the kwok
	// nodes.
	Live bool `json:"live,omitempty"`
	// IdleSeconds, if positive, ends the lab when nobody has held a Lease for
	// so long.
	IdleSeconds int `json:"idleSeconds,omitempty"`
	// Resume starts clusters on the data of a former lab instead of anew.
	Resume bool `json:"resume,omitempty"`
	// Stopped are the clusters that are down on purpose, to play an outage.
	Stopped []string `json:"stopped,omitempty"`
}

// Wants reports whether the named cluster should run.
func (s Spec) Wants(cluster string) bool { return !slices.Contains(s.Stopped, cluster) }

// ReadSpec returns the Spec, or a zero one if there is none.
func (d Dir) ReadSpec() (Spec, error) {
	var s Spec
	return s, d.read("spec.json", &s)
}

// ChangeSpec applies change to the Spec and returns the result. Concurrent
// changes happen one after the other.
func (d Dir) ChangeSpec(change func(*Spec) error) (Spec, error) {
	lock, err := d.lock("spec.lock", true)
	if err != nil {
		return Spec{}, err
	}
	defer lock.Close()
	s, err := d.ReadSpec()
	if err != nil {
		return Spec{}, err
	}
	if err := change(&s); err != nil {
		return Spec{}, err
	}
	s.Generation++
	return s, d.write("spec.json", s)
}
