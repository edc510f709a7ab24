package load

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"mizzen.dev/mizzen/lab/internal/shop"
)

// flags are what Envoy says when it answers in a server's place, with the
// response flag that its access log has for it
// (https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage).
var flags = []struct{ text, flag string }{
	{"no healthy upstream", "UH"},
	{"reset reason: connection termination", "UC"},
	{"reset reason: overflow", "UO"},
	{"reset reason: protocol error", "UPE"},
	{"reset reason: remote", "UR"},
	{"reset reason: local", "LR"},
	{"connection failure", "UF"},
	{"connection timeout", "UF"},
	{"upstream request timeout", "UT"},
	{"upstream response timeout", "UT"},
	{"fault filter abort", "FI"},
	{"RBAC: access denied", "RBAC"},
	{"local_rate_limited", "RL"},
	{"upgrade required", "DPE"},
}

const (
	maxReason = 160
	maxDetail = 400
	maxName   = 63
)

// Addresses and ports differ from one failure to the next of the same reason.
var (
	address = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+(:\d+)?|\[[0-9a-fA-F:]+\](:\d+)?`)
	space   = regexp.MustCompile(`\s+`)
)

// judge fills in the versions that took part, and why the request failed if
// it did.
func judge(o *outcome, header http.Header, body []byte) {
	reply := &shop.Reply{}
	if json.Unmarshal(body, reply) != nil || reply.App == "" {
		reply = &shop.Reply{Error: string(body)}
		// Envoy without a route for the request says nothing more than 404.
		if len(body) == 0 && o.status == http.StatusNotFound && header.Get("Server") == "istio-envoy" {
			reply.Error = "NR: no route"
		}
	}
	reply.Status = o.status
	o.hops = map[hop]bool{}
	reply.Walk(func(_ string, r *shop.Reply) {
		if r.App != "" {
			h := hop{clip(r.App, maxName, false), clip(r.Version, maxName, false)}
			o.hops[h] = o.hops[h] || r.Failed()
		}
	})
	if o.status < http.StatusBadRequest {
		return
	}
	root, where := rootCause(reply)
	text := explain(root)
	o.reason = clip(where+text, maxReason, true)
	if where != "" {
		text = fmt.Sprintf("status %d: %s%s", o.status, where, text)
	}
	o.detail = clip(text, maxDetail, false)
}

// rootCause follows the failed calls down to the first that has none itself,
// and says through which URL it was called.
func rootCause(r *shop.Reply) (root *shop.Reply, where string) {
	for range shop.MaxDepth {
		first := ""
		for u, c := range r.Calls {
			if c != nil && c.Failed() && (first == "" || u < first) {
				first = u
			}
		}
		if first == "" {
			break
		}
		r, where = r.Calls[first], first+": "
	}
	return r, where
}

// explain says what a Reply failed of: its status, who sent it, Envoy's flag,
// and the text.
func explain(r *shop.Reply) string {
	text := fmt.Sprintf("status %d", r.Status)
	if r.Status == shop.StatusNoAnswer {
		text = "no answer"
	}
	switch {
	case r.App != "":
		text += fmt.Sprintf(" by %s %s", r.App, r.Version)
	default:
		for _, f := range flags {
			if strings.Contains(r.Error, f.text) {
				text += " " + f.flag
				break
			}
		}
	}
	if r.Error != "" {
		text += ": " + r.Error
	}
	return text
}

// clip makes one line of limited length, without addresses if it is to be
// counted by.
func clip(s string, most int, general bool) string {
	s = strings.TrimSpace(space.ReplaceAllString(strings.ToValidUTF8(s, "?"), " "))
	if general {
		s = address.ReplaceAllString(s, "ADDRESS")
	}
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
