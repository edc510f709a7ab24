package effect

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"mizzen.dev/mizzen/internal/traffic"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// reason is why a caller fares otherwise.
type reason int

const (
	// byPolicy: the policies differ.
	byPolicy reason = iota
	// byIdentity: the policies are asked about another identity than before.
	byIdentity
	// byTrust: the policies differ, for a trust domain whose certificates are not
	// taken on either side.
	byTrust
)

var reasons = []reason{byPolicy, byIdentity, byTrust}

// row is a kind of request and who may make it.
type row struct {
	// requests are in words, the simplest first; from is where they come from,
	// where that decides.
	requests      []string
	from          string
	http          bool
	before, after string
	wider         bool
	reason        reason
	ports         []uint32
	// moved are who gains or loses.
	moved   []caller
	example match.Call
	by      caller
	verdict [2]match.Verdict
}

// matrix is what differs at a door, or at all of a workload.
type matrix struct {
	rows []row
	// cut tells that not every request was asked about.
	cut bool
}

// matrix asks both sides about every caller and every request that either
// side's policies tell apart.
func (c *comparison) matrix(d door, w *traffic.Workload) matrix {
	callers := c.callersOf(d)
	calls, all := c.calls(d, w, len(callers.classes))
	t := &table{index: map[string]*cells{}}
	for _, call := range calls {
		r := c.row(d, call.Call, &callers)
		words := callWords(call.Call, d)
		t.ask(words, call.from)
		for _, why := range reasons {
			for _, wider := range []bool{true, false} {
				if one, ok := r.part(d, wider, why); ok {
					t.add(one, words, call.from)
				}
			}
		}
	}
	return matrix{t.rows(), !all || callers.cut}
}

// table gathers rows that say the same of several requests.
type table struct {
	// requests and places are what was asked about, in words.
	requests, places []string
	index            map[string]*cells
	order            []*cells
}

// cells are the requests of a row by the place that they come from.
type cells struct {
	row
	requests map[string][]string
}

func (t *table) ask(request, place string) {
	if !slices.Contains(t.requests, request) {
		t.requests = append(t.requests, request)
	}
	if !slices.Contains(t.places, place) {
		t.places = append(t.places, place)
	}
}

func (t *table) add(r row, request, place string) {
	key := fmt.Sprint(r.reason, r.wider, r.before, r.after)
	c := t.index[key]
	if c == nil {
		c = &cells{r, map[string][]string{}}
		t.index[key] = c
		t.order = append(t.order, c)
	}
	if !slices.Contains(c.requests[place], request) {
		c.requests[place] = append(c.requests[place], request)
	}
}

// rows tells the requests of each row: every one that was asked about, and from
// where, unless it is from everywhere.
func (t *table) rows() []row {
	var out []row
	for _, c := range t.order {
		at := map[string]int{}
		places := map[string][]string{}
		for _, place := range t.places {
			requests := c.requests[place]
			if len(requests) == 0 {
				continue
			}
			if c.http && len(requests) == len(t.requests) {
				requests = []string{"every request"}
			}
			key := strings.Join(requests, "\x00")
			if _, known := at[key]; !known {
				at[key] = len(out)
				r := c.row
				r.requests = requests
				out = append(out, r)
			}
			if places[key] = append(places[key], place); len(places[key]) < len(t.places) {
				out[at[key]].from = " from " + list(places[key], 3)
			} else {
				out[at[key]].from = ""
			}
		}
	}
	return out
}

// anyHost is the host of requests where policies do not ask for one.
const anyHost = "any.example"

// fromAnywhere is the address of callers where policies do not ask for one. It is
// reserved for documentation (RFC 5737).
var fromAnywhere = netip.AddrFrom4([4]byte{192, 0, 2, 1})

// maxBlocks bounds the blocks of addresses that are asked about at a door.
const maxBlocks = 100

// placed is a call, with the place that it comes from in words.
type placed struct {
	match.Call
	from string
}

// calls are the requests to ask about for some number of callers, the simplest
// first, from each block of addresses that policies tell apart. all is false if
// there are more.
func (c *comparison) calls(d door, w *traffic.Workload, callers int) (out []placed, all bool) {
	var stacks []*match.Stack
	for _, s := range []*match.Stack{d.secured[0], d.secured[1], d.plain[0], d.plain[1]} {
		if s != nil {
			stacks = append(stacks, s)
		}
	}
	blocks := match.IdentitiesOf(stacks...).Blocks(fromAnywhere)
	cut := len(blocks) > maxBlocks
	blocks = blocks[:min(len(blocks), maxBlocks)]
	o := match.CandidateOptions{
		Max: max(1, min(c.o.MaxCandidates, maxAsked/max(callers, 1)/max(len(blocks), 1))), TrustDomain: c.after.TrustDomain, AnyCaller: true,
	}
	o.Base.Request.Host = d.host
	candidates, all := match.PolicyCandidates(o, stacks...)
	for _, call := range c.distinct(d, w, d.probes(candidates)) {
		for _, b := range blocks {
			call.Peer.Source = netip.AddrPortFrom(b.Address, 40000)
			out = append(out, placed{call, blockWords(b)})
		}
	}
	return out, all && !cut
}

// distinct are the calls that differ in more than who makes them, the simplest
// first.
func (c *comparison) distinct(d door, w *traffic.Workload, calls []match.Call) []match.Call {
	address, err := netip.ParseAddr(w.Address)
	seen := map[string]bool{}
	var out []match.Call
	for _, call := range calls {
		if call.Request.Token != nil && !call.Request.Token.Valid {
			continue // jwt tells of these
		}
		if err == nil {
			call.Peer.Destination = netip.AddrPortFrom(address, d.destination(call))
		}
		key := requestKey(call.Request) + call.Peer.Destination.String() + call.Peer.ServerName
		if !seen[key] {
			seen[key] = true
			out = append(out, call)
		}
	}
	slices.SortStableFunc(out, func(a, b match.Call) int { return simpler(a.Request, b.Request) })
	return out
}

// probes adds variations of calls where the sides may take them for different
// ones.
func (d door) probes(calls []match.Call) []match.Call {
	b, a := cmp.Or(d.secured[0], d.plain[0]), cmp.Or(d.secured[1], d.plain[1])
	if b == nil || a == nil || sameManners(b.Options, a.Options) {
		return calls
	}
	out := calls
	for _, call := range calls {
		for _, r := range match.Probes(b.Options, a.Options, call.Request) {
			call.Request = r
			out = append(out, call)
		}
	}
	return out
}

// destination is the port a call goes to: the door's, or for all others the
// one that the policies ask for.
func (d door) destination(call match.Call) uint16 {
	if d.port != others {
		return uint16(d.port)
	}
	return max(call.Peer.Destination.Port(), 1)
}

// asked is what every class of callers hears about one request.
type asked struct {
	call     match.Call
	callers  *callers
	verdicts []heard
}

// heard are the verdicts before and after, and what the first would have been
// for the identity that the caller has now.
type heard struct {
	sides [2]match.Verdict
	as    match.Verdict
}

func (c *comparison) row(d door, call match.Call, callers *callers) asked {
	r := asked{call: call, callers: callers}
	for _, class := range callers.classes {
		who := callers.all[class[0]]
		h := heard{}
		for side, identity := range who.identities {
			h.sides[side] = d.hears(side, call, identity)
			if !who.trusted[side] && who.trusted[1-side] {
				h.sides[side] = match.Verdict{Decision: match.Denied, Why: notTrusted}
			}
		}
		if h.as = h.sides[0]; who.moved() && h.sides[0].Decision != h.sides[1].Decision {
			h.as = d.hears(0, call, who.as)
		}
		r.verdicts = append(r.verdicts, h)
	}
	return r
}

// notTrusted is why a handshake fails.
const notTrusted = "its certificate is not taken: the connection is closed"

// hears is what one side says of a call by who shows an identity.
func (d door) hears(side int, call match.Call, identity string) match.Verdict {
	stacks := d.secured
	if identity == "" {
		stacks = d.plain
	}
	peer := call.Peer
	peer.Identity, peer.TLS, peer.Internal = identity, identity != "", d.waypoint
	return match.Authorize(stacks[side], call.Request, peer)
}

func level(v match.Verdict) int {
	switch v.Decision {
	case match.Allowed:
		return 2
	case match.Undecided:
		return 1
	}
	return 0
}

// change tells how a caller fares: 1 if it may do more than before, -1 if it may
// do less, and why.
func (h heard) change(who caller) (direction int, why reason) {
	b, as, a := level(h.sides[0]), level(h.as), level(h.sides[1])
	switch {
	case h.sides[0].ByToken || h.sides[1].ByToken:
		return 0, why // jwt tells which tokens are taken
	case who.trusted == [2]bool{}:
		why = byTrust
	case who.moved() && cmp.Compare(a, as) != cmp.Compare(a, b):
		why = byIdentity
	}
	direction = cmp.Compare(a, b)
	if who.fresh && direction < 0 {
		return 0, why // it never was allowed to
	}
	return direction, why
}

// part returns the row of those who gain, or of those who lose, for a reason.
func (r asked) part(d door, wider bool, why reason) (row, bool) {
	out := row{wider: wider, reason: why, http: d.http(), example: r.call}
	want := map[bool]int{true: 1, false: -1}[wider]
	for i, class := range r.callers.classes {
		first := r.callers.all[class[0]]
		if direction, because := r.verdicts[i].change(first); direction != want || because != why {
			continue
		}
		if len(out.moved) == 0 {
			out.by, out.verdict = first, r.verdicts[i].sides
		}
		for _, at := range class {
			out.moved = append(out.moved, r.callers.all[at])
		}
	}
	if len(out.moved) == 0 {
		return out, false
	}
	out.before, out.after = r.callers.who(r.passing(0)), r.callers.who(r.passing(1))
	return out, true
}

// passing are those who are let in on one side.
func (r asked) passing(side int) []letIn {
	var out []letIn
	for i, class := range r.callers.classes {
		v := r.verdicts[i].sides[side]
		for _, at := range class {
			if level(v) > 0 {
				out = append(out, letIn{at, asks(v)})
			}
		}
	}
	return out
}

// asks says who decides where the policies do not.
func asks(v match.Verdict) string {
	if v.Decision == match.Undecided && len(v.Asks) > 0 {
		return " (if " + authorizers(v.Asks) + " agrees)"
	}
	return ""
}

// callWords tells a request as a policy sees it.
func callWords(call match.Call, d door) string {
	if !d.http() {
		return "connections"
	}
	s := call.Request.Method + " " + call.Request.Path
	if call.Request.Host != d.host {
		s += " for " + call.Request.Host
	}
	for _, h := range call.Request.Headers {
		s += fmt.Sprintf(" with %s: %s", h.Name, h.Value)
	}
	if t := call.Request.Token; t != nil {
		s += " with " + tokenWords(t)
	}
	return s
}

// join adds the rows of a door. Rows that say the same of another port become
// one.
func (m *matrix) join(other matrix, port uint32) {
	m.cut = m.cut || other.cut
	for _, r := range other.rows {
		i := slices.IndexFunc(m.rows, func(s row) bool {
			return s.wider == r.wider && s.reason == r.reason && s.before == r.before && s.after == r.after && s.from == r.from && slices.Equal(s.requests, r.requests)
		})
		if i < 0 {
			r.ports = nil
			m.rows = append(m.rows, r)
			i = len(m.rows) - 1
		}
		m.rows[i].ports = append(m.rows[i].ports, port)
	}
}
