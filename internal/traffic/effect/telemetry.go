package effect

import (
	"fmt"
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// observation is what a proxy tells about the requests it sees.
type observation struct{ logs, metrics, tracing string }

// telemetry tells where access logs, metrics or tracing are switched on or off.
func (c *comparison) telemetry() {
	in, out := map[*traffic.Part]observation{}, map[*traffic.Part]observation{}
	for _, name := range sortedKeys(c.after.proxies) {
		b, a := c.before.proxies[name], c.after.proxies[name]
		if b == nil {
			continue
		}
		sent := a.Role == traffic.Sidecar && c.hash.outbound(b).sent != c.hash.outbound(a).sent
		if !sent && c.hash.inbound(b) == c.hash.inbound(a) {
			continue
		}
		x, y := once(in, b.Inbound, received), once(in, a.Inbound, received)
		c.observed(a.Workload, "", x, y)
		// Mostly the settings are the same for both directions; Telemetry may
		// set one of them (mode CLIENT or SERVER).
		if !sent {
			continue
		}
		if p, q := once(out, b.Outbound, sends), once(out, a.Outbound, sends); p != x || q != y {
			c.observed(a.Workload, " of requests that are sent", p, q)
		}
	}
}

func received(v *traffic.View) []*listenerv3.Listener { return v.Inbound }
func sends(v *traffic.View) []*listenerv3.Listener    { return v.Outbound }

// once reads what listeners of a Part tell, unless that was done for another
// proxy with the same.
func once(seen map[*traffic.Part]observation, p *traffic.Part, of func(*traffic.View) []*listenerv3.Listener) observation {
	o, ok := seen[p]
	if !ok {
		o = observe(of(p.View()))
		seen[p] = o
	}
	return o
}

func (c *comparison) observed(w *traffic.Workload, of string, b, a observation) {
	c.switched(w, mizzen.EffectAccessLog, "access logs"+of+" are", hints{"accessLogging", "disabled"}, b.logs, a.logs)
	c.switched(w, mizzen.EffectMetrics, "metrics"+of+" are", hints{"metrics", "disabled"}, b.metrics, a.metrics)
	c.switched(w, mizzen.EffectTracing, "tracing"+of+" is", hints{"tracing", "randomSampling", "disable"}, b.tracing, a.tracing)
}

const off = "off"

func (c *comparison) switched(w *traffic.Workload, code mizzen.EffectCode, what string, h hints, before, after string) {
	if before == after {
		return
	}
	verb, impact := " changed", mizzen.ImpactNotice
	switch {
	case after == off:
		verb, impact = " switched off", mizzen.ImpactWarning
	case before == off:
		verb, impact = " switched on", mizzen.ImpactInfo
	}
	c.out.add(found{
		code: code, impact: impact, subjects: []string{w.Name}, message: what + verb, before: before, after: after,
		cause: c.policyFor("Telemetry", w, h), group: w.Namespace,
	})
}

// observe reads what a proxy tells about the requests at some of its listeners.
func observe(listeners []*listenerv3.Listener) observation {
	o := observation{logs: off, metrics: off, tracing: off}
	var logs []string
	for _, l := range listeners {
		for _, chain := range chains(l) {
			m := httpManager(chain)
			if m == nil {
				continue
			}
			for _, a := range m.GetAccessLog() {
				logs = append(logs, logger(a))
			}
			if hasStats(m) {
				o.metrics = metrics(m)
			}
			if t := m.GetTracing(); t.GetProvider() != nil {
				o.tracing = fmt.Sprintf("%s, %s %%", strings.TrimPrefix(t.GetProvider().GetName(), "envoy.tracers."), number(t.GetRandomSampling().GetValue()))
			}
		}
	}
	if len(logs) > 0 {
		o.logs = strings.Join(distinct(logs), "; ")
	}
	return o
}

func logger(a *accesslogv3.AccessLog) string {
	name := strings.TrimPrefix(a.GetName(), "envoy.access_loggers.")
	if file, ok := unpack(a.GetTypedConfig(), &filev3.FileAccessLog{}); ok {
		format := file.GetLogFormat()
		name = "text to " + file.GetPath()
		switch {
		case format.GetJsonFormat() != nil:
			name = "JSON to " + file.GetPath() + fmt.Sprintf(" (%d fields)", len(format.GetJsonFormat().GetFields()))
		case !strings.HasPrefix(format.GetTextFormatSource().GetInlineString(), "[%START_TIME%]"):
			name += ", format " + clip(strings.TrimSpace(format.GetTextFormatSource().GetInlineString()))
		}
	}
	if f := a.GetFilter(); f != nil {
		name += ", only if " + clip(plain(f))
	}
	return name
}

// statsFilter is the name of Istio's filter that counts requests.
const statsFilter = "istio.stats"

func hasStats(m *hcmv3.HttpConnectionManager) bool {
	for _, f := range m.GetHttpFilters() {
		if strings.HasPrefix(f.GetName(), statsFilter) {
			return true
		}
	}
	return false
}

// metrics tells whether the filter that counts requests has settings of its own.
func metrics(m *hcmv3.HttpConnectionManager) string {
	for _, f := range m.GetHttpFilters() {
		if strings.HasPrefix(f.GetName(), statsFilter) {
			if config := plain(f.GetTypedConfig()); strings.Contains(config, "metrics") {
				return "on, " + clip(config)
			}
		}
	}
	return "on"
}
