package effect

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"mizzen.dev/mizzen/internal/traffic/match"
)

// share is a destination and its part of the requests.
type share struct {
	destination
	percent float64 // 0..100
}

// fate is what becomes of a request on one side.
type fate struct {
	match.Outcome
	shares []share
	// refused is the part of the requests that fails, in per cent of 0..100.
	refused float64
	// unknown says that the host is none that the proxy knows.
	unknown bool
	// bytes: nobody reads the requests, so that they have no answers.
	bytes bool
	words string
}

// fate decides about a request for a host at one entry; a nil entry is one that
// this side does not have. Then a sidecar does what it does with all that it
// does not know, and a gateway does not listen.
func (x *index) fate(e *entry, host string, r match.Request) fate {
	if e == nil && egress(x.View) == passthrough {
		return fate{unknown: true, words: unknownTo(x.View)}
	}
	if e == nil {
		return fate{refused: 100, unknown: true, words: "refused: nothing listens"}
	}
	return x.judge(e.router.Route(r, e.options), host)
}

func (x *index) judge(o match.Outcome, host string) fate {
	f := fate{Outcome: o, unknown: o.Kind == match.NoHost || o.VirtualHost != nil && fallback(o.VirtualHost)}
	switch o.Kind {
	case match.Forward, match.Fault, match.Preflight:
		x.follow(&f, host)
		return f
	case match.Redirect:
		f.words = fmt.Sprintf("%d to %s", o.Status, o.Location)
		return f
	case match.Direct:
		f.words = fmt.Sprintf("answered with %d", o.Status)
		if o.Status < 400 {
			return f
		}
	case match.NoRoute:
		f.words = "404: no rule matches"
	case match.NoHost:
		f.words = "404: the host is not known"
	default:
		f.words = fmt.Sprintf("%d: %s", o.Status, o.Why)
	}
	f.refused = 100
	return f
}

// follow looks up where a route leads.
func (x *index) follow(f *fate, host string) {
	for _, d := range f.Destinations {
		s := share{destination: x.destination(d.Cluster), percent: d.Percent}
		if s.problem != "" {
			f.refused += s.percent
		}
		f.shares = append(f.shares, s)
	}
	f.words = f.where(host)
	if f.Kind == match.Fault {
		f.words = fmt.Sprintf("%d, injected", f.Status)
	}
}

// fallback tells whether a virtual host is the one that istiod makes for hosts
// that it does not know.
func fallback(vh *routev3.VirtualHost) bool {
	return vh.Name == "allow_any" || vh.Name == "block_all" || strings.HasPrefix(vh.Name, "blackhole:")
}

// where tells the destinations and their shares: "v1 90 %, v2 10 %".
func (f *fate) where(host string) string {
	var served []string
	for _, s := range f.shares {
		if s.percent == 0 || s.problem != "" {
			continue
		}
		w := s.words(host)
		if s.percent < 100 {
			w += " " + number(s.percent) + " %"
		}
		served = append(served, w)
	}
	for _, status := range []int{404, 500, 503} {
		if w := f.failing(status); w != "" {
			served = append(served, w)
		}
	}
	return strings.Join(served, ", ")
}

// failing tells the requests that are answered with a status since nothing
// serves them, and why; "" if there are none.
func (f *fate) failing(status int) string {
	var why []string
	percent := 0.0
	for _, s := range f.shares {
		answer := 503
		if s.missing && f.MissingStatus != 0 { // 0 in TCP, which has no answers
			answer = f.MissingStatus
		}
		if s.percent > 0 && s.problem != "" && answer == status {
			why = append(why, s.failing())
			percent += s.percent
		}
	}
	if why == nil {
		return ""
	}
	words := strconv.Itoa(status)
	if f.bytes {
		words = "refused"
	}
	if percent < 99.995 {
		words += " for " + number(percent) + " %"
	}
	return words + ": " + strings.Join(distinct(why), ", ")
}

// telling returns the words of two fates, with the workloads where the names of
// the destinations are the same but not what is behind them.
func telling(b, a fate, host string) (before, after string) {
	if b.words != a.words || b.refused > 0 || a.refused > 0 {
		return b.words, a.words
	}
	x, y := b.behind(host), a.behind(host)
	if x == y {
		x, y = b.except(a), a.except(b)
	}
	return b.words + " (" + x + ")", a.words + " (" + y + ")"
}

// except tells where exactly requests arrive, of the places at which they do not
// arrive on the other side: ports, and the addresses that are real ones.
func (f *fate) except(other fate) string {
	elsewhere := map[place]bool{}
	for _, s := range served(other.shares) {
		for _, p := range s.places {
			elsewhere[p] = true
		}
	}
	var out []string
	for _, s := range served(f.shares) {
		for _, p := range s.places {
			if !elsewhere[p] {
				out = append(out, p.at())
			}
		}
	}
	return list(distinct(out), 4)
}

func (f *fate) behind(host string) string {
	var out []string
	for _, s := range f.shares {
		out = append(out, s.pods(host))
	}
	return strings.Join(distinct(out), ", ")
}

// answered tells whether the proxy answers by itself, as the rule says.
func (f *fate) answered() bool { return f.Kind == match.Redirect || f.Kind == match.Direct }

// sameDestinations tells whether two fates lead to the same, whatever the
// shares.
func sameDestinations(b, a fate) bool { return equalDestinations(b, a, destination.same) }

// sameWorkloads tells whether two fates lead to the same, but for the port there.
func sameWorkloads(b, a fate) bool { return equalDestinations(b, a, destination.alike) }

func equalDestinations(b, a fate, equal func(x, y destination) bool) bool {
	if b.answered() || a.answered() {
		return b.Kind == a.Kind && b.Status == a.Status
	}
	x, y := served(b.shares), served(a.shares)
	in := func(all []share, s share) bool {
		return slices.ContainsFunc(all, func(t share) bool { return equal(s.destination, t.destination) })
	}
	for _, s := range x {
		if !in(y, s) {
			return false
		}
	}
	for _, s := range y {
		if !in(x, s) {
			return false
		}
	}
	return true
}

func served(shares []share) []share {
	return slices.DeleteFunc(slices.Clone(shares), func(s share) bool { return s.percent == 0 || s.problem != "" })
}

// moves tells in words how the destinations of requests differ.
func moves(b, a fate) string {
	inside := slices.ContainsFunc(b.shares, func(s share) bool { return len(s.workloads) > 0 })
	switch was, is := b.leaves(), a.leaves(); {
	case sameWorkloads(b, a):
		return "arrive at another port or address"
	case inside && is > 99.99 && was < 99.99:
		return "go to another destination, outside of the mesh"
	case inside && is > 0 && was == 0:
		return "go to another destination, partly outside of the mesh"
	}
	return "go to another destination"
}

// leaves is the part of the requests, 0..100, that goes to addresses of which
// the mesh knows no workload.
func (f *fate) leaves() (percent float64) {
	for _, s := range served(f.shares) {
		if n := len(s.outside); n > 0 && s.elsewhere() == "" {
			percent += s.percent * float64(n) / float64(n+len(s.workloads))
		}
	}
	return percent
}

// sameShares tells whether each destination gets the same part of the requests.
func sameShares(b, a fate) bool {
	for _, s := range slices.Concat(b.shares, a.shares) {
		if diff := total(b.shares, s) - total(a.shares, s); diff > 0.005 || diff < -0.005 {
			return false
		}
	}
	return true
}

func total(shares []share, of share) float64 {
	sum := 0.0
	for _, s := range shares {
		if s.same(of.destination) {
			sum += s.percent
		}
	}
	return sum
}
