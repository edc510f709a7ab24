// Package trial asks the same requests of the matcher and of a stock Envoy that
// runs the same configuration, and tells where the two differ.
package trial

import (
	"fmt"
	"reflect"
)

// Fate is what becomes of a request, in words that both sides know. A field
// that says nothing about its Kind is empty on both sides.
type Fate struct {
	Kind string
	// Status is the HTTP status of the answer, GRPC the grpc-status of an
	// answer that Envoy itself gave.
	Status, GRPC int
	Route        string
	// Location is that of a redirect.
	Location string
	// Cluster, Path, Host and Timeout (in milliseconds) are as an upstream saw
	// them; Attempts is how often one was asked.
	Cluster, Path, Host, Timeout string
	Attempts                     int
	// Mirrors are the clusters that got copies, sorted.
	Mirrors string
	// Request and Response are the headers that the configuration changes, as
	// the upstream and the client saw them.
	Request, Response map[string]string
	// CORS are the headers of that name in the answer.
	CORS map[string]string
	// Delayed tells whether a delay was injected.
	Delayed bool
	// Why is the details of Envoy for an answer that has no place here.
	Why string
}

// The kinds of fates.
const (
	forward    = "forward"
	redirect   = "redirect"
	direct     = "direct"
	aborted    = "fault"
	noRoute    = "no-route"
	noCluster  = "no-cluster"
	badRequest = "bad-request"
	preflight  = "preflight"
	other      = "other"
)

// Differences names each field that differs, with both values.
func Differences(predicted, observed Fate) []string {
	var out []string
	p, o := reflect.ValueOf(predicted), reflect.ValueOf(observed)
	for i := range p.NumField() {
		a, b := p.Field(i).Interface(), o.Field(i).Interface()
		if !reflect.DeepEqual(a, b) {
			out = append(out, fmt.Sprintf("%s: predicted %#v, envoy %#v", p.Type().Field(i).Name, a, b))
		}
	}
	return out
}
