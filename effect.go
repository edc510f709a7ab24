package mizzen

import (
	"cmp"
	"slices"
)

// Impact orders Effects by how much a reviewer should care.
type Impact string

// The impacts of an Effect, from the least.
const (
	ImpactInfo    Impact = "info"
	ImpactNotice  Impact = "notice"
	ImpactWarning Impact = "warning"
	// ImpactDanger: requests fail that did not, or something is less protected
	// than it was.
	ImpactDanger Impact = "danger"
)

// Impacts are all impacts, from the least.
var Impacts = []Impact{ImpactInfo, ImpactNotice, ImpactWarning, ImpactDanger}

// Effect is what a change does to traffic, security or exposure, as opposed to
// what it does to an object. It is a difference between what the mesh does with
// a request before and after.
type Effect struct {
	Code   EffectCode `json:"code"`
	Impact Impact     `json:"impact"`
	// Cluster names the mesh where there are several; else it is empty.
	Cluster string `json:"cluster,omitempty"`
	// Subject is what it happens to, in the words of a reader: a host
	// ("reviews.shop:80"), a workload ("shop/payments"), a host at a gateway.
	Subject string `json:"subject"`
	// Message is one sentence without a final stop.
	Message string `json:"message"`
	// Before and After are the two fates in words, such as "v1 90 %, v2 10 %";
	// one is empty where there was or will be nothing.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Callers are the workloads ("shop/web") and gateways whose requests are
	// affected, sorted; the single element "*" means every workload.
	Callers []string `json:"callers,omitempty"`
	// OtherNamespaces are those of callers outside of the subject's own
	// namespace, sorted: their teams did not make the change.
	OtherNamespaces []string `json:"otherNamespaces,omitempty"`
	// Owners are asked for approval: of Subject and of Callers, sorted. They are
	// filled in where CODEOWNERS is known.
	Owners []string `json:"owners,omitempty"`
	// Cause is the object whose change brings the effect, where one is known,
	// and Origin the line that does; Origin is of the side that has the line.
	Cause  Ref    `json:"cause,omitzero"`
	Origin Origin `json:"origin,omitzero"`
	// Witness is a request whose fate differs. Effects that no single request
	// shows, such as a changed outlier detection, have none.
	Witness *Witness `json:"witness,omitempty"`
}

// Witness is a concrete request and what becomes of it on both sides.
type Witness struct {
	// From is the caller: a workload ("shop/web"), or "outside" for a request
	// to a gateway or by a client without a sidecar.
	From string `json:"from"`
	// Method and URL, such as GET and http://reviews.shop:80/wpcatalog.
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"`
	// Claims are those of the valid token that comes with the request; none if
	// there is no token, or one that is not valid.
	Claims map[string]any `json:"claims,omitempty"`
	// Address is where From calls from, if a rule asks for that; empty for any.
	Address string `json:"address,omitempty"`
	Before  string `json:"before"`
	After   string `json:"after"`
}

// SortEffects orders by impact, the worst first, then by code, subject and
// message, in place.
func SortEffects(effects []Effect) {
	slices.SortStableFunc(effects, func(a, b Effect) int {
		return cmp.Or(
			cmp.Compare(slices.Index(Impacts, b.Impact), slices.Index(Impacts, a.Impact)),
			cmp.Compare(a.Code, b.Code),
			cmp.Compare(a.Subject, b.Subject),
			cmp.Compare(a.Message, b.Message),
			cmp.Compare(a.Cluster, b.Cluster),
		)
	})
}
