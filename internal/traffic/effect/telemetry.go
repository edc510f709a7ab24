package effect

import (
	"fmt"
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	filev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// observation is what a proxy tells about the requests it sees.
type observation struct{ logs, metrics, tracing string }

// telemetry tells where access logs, metrics or tracing are switched on or off.
func (c *comparison) telemetry() {
	seen := map[uint64]observation{}
	of := func(p *traffic.Proxy) observation {
		key := c.hash.inbound(p)
		if o, ok := seen[key]; ok {
			return o
		}
		seen[key] = observe(p)
		return seen[key]
	}
	for _, name := range sortedKeys(c.after.proxies) {
		b, a := c.before.proxies[name], c.after.proxies[name]
		if b == nil || c.hash.inbound(b) == c.hash.inbound(a) {
			continue
		}
		x, y := of(b), of(a)
		c.observed(a.Workload, mizzen.EffectAccessLog, "access logs", hints{"accessLogging", "disabled"}, x.logs, y.logs)
		c.observed(a.Workload, mizzen.EffectMetrics, "metrics", hints{"metrics", "disabled"}, x.metrics, y.metrics)
		c.observed(a.Workload, mizzen.EffectTracing, "tracing", hints{"tracing", "randomSampling", "disable"}, x.tracing, y.tracing)
	}
}

const off = "off"

func (c *comparison) observed(w *traffic.Workload, code mizzen.EffectCode, what string, h hints, before, after string) {
	if before == after {
		return
	}
	verb, impact := "changes", mizzen.ImpactNotice
	switch {
	case after == off:
		verb, impact = "is switched off", mizzen.ImpactWarning
	case before == off:
		verb, impact = "is switched on", mizzen.ImpactInfo
	}
	if strings.HasSuffix(what, "s") {
		verb = strings.Replace(strings.Replace(verb, "is ", "are ", 1), "changes", "change", 1)
	}
	c.out.add(found{
		code: code, impact: impact, subjects: []string{w.Name}, message: what + " " + verb, before: before, after: after,
		cause: c.policyFor("Telemetry", w, h), group: w.Namespace,
	})
}

// observe reads what a proxy tells about inbound requests; a gateway's
// listeners are all inbound.
func observe(p *traffic.Proxy) observation {
	o := observation{logs: off, metrics: off, tracing: off}
	var logs []string
	for _, l := range viewOf(p).Inbound {
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
