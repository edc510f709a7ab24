package report

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"mizzen.dev/mizzen"
)

// TraceText writes what becomes of a request for a terminal, hop by hop.
func TraceText(out io.Writer, t *mizzen.Trace, s Style) error {
	w := &printer{w: out}
	w.printf("%s\n", s.paint(bold, question(&t.Request)))
	for _, o := range t.Outcomes {
		w.printf("  %s %s", s.paint(fateColor(o.Fate), outcomeWords(&o, len(t.Outcomes) > 1)), o.Message)
		writeRule(w, o.Rule, s)
		w.printf("\n")
	}
	for i := range t.Hops {
		writeHop(w, i+1, &t.Hops[i], s)
	}
	for _, note := range t.Notes {
		w.printf("\n%s", s.paint(faint, "note: "+note))
	}
	if len(t.Notes) > 0 {
		w.printf("\n")
	}
	return w.err
}

// question repeats what was asked.
func question(r *mizzen.TraceRequest) string {
	text := strings.TrimSpace(r.Method+" "+r.URL) + " from " + r.From
	if r.Caller != "" && r.Caller != r.From {
		text += " (" + r.Caller + ")"
	}
	for _, h := range r.Headers {
		text += ", " + h.Name + ": " + h.Value
	}
	return text
}

func fateColor(f mizzen.TraceFate) string {
	switch f {
	case mizzen.FateServed:
		return green
	case mizzen.FateFails:
		return red
	}
	return yellow
}

// outcomeWords begins the line of an outcome: its share where there are
// several, the fate, the status.
func outcomeWords(o *mizzen.TraceOutcome, several bool) string {
	text := string(o.Fate)
	if several {
		text = percent(o.Percent) + " " + text
	}
	if o.Status != 0 {
		text += " " + strconv.Itoa(o.Status)
	}
	return text + ":"
}

// percent writes a share with at most two digits behind the point.
func percent(p float64) string { return strconv.FormatFloat(p, 'f', -1, 64) + " %" }

// writeRule names what wrote a rule, and where.
func writeRule(w *printer, r mizzen.TraceRule, s Style) {
	if r.Ref.Kind == "" {
		return
	}
	w.printf("  %s", ruleName(r))
	if at := r.Origin.String(); at != "" {
		w.printf("  %s", s.paint(faint, at))
	}
}

// ruleName leaves out the group: the kinds of a mesh are known without it.
func ruleName(r mizzen.TraceRule) string {
	ref := r.Ref
	ref.Group = ""
	text := ref.String()
	if r.Path != "" {
		text += " " + string(r.Path)
	}
	return text
}

// writeHop writes one proxy: a headline, and a line for each thing it decides.
func writeHop(w *printer, n int, h *mizzen.TraceHop, s Style) {
	w.printf("\n%d %s  %s", n, s.paint(bold, h.Workload), hopKind(h))
	if h.Percent != 100 {
		w.printf(", %s of the requests", percent(h.Percent))
	}
	w.printf("\n")
	line := func(name, format string, args ...any) {
		w.printf("    %s ", painted(fmt.Sprintf("%-10s", name)))
		w.printf(format, args...)
		w.printf("\n")
	}
	writeConnection(line, h)
	writePolicies(w, h, s)
	if h.VirtualHost != "" && h.Direction != mizzen.TraceInbound {
		line("host", "%s", h.VirtualHost)
	}
	writeRoute(w, h, s)
	writeTreatment(line, h)
	for _, d := range h.Destinations {
		writeDestination(w, &d, s)
	}
	if h.Port != 0 {
		line("app", "port %d", h.Port)
	}
	if h.Answer != "" {
		line("answers", "%s", s.paint(yellow, h.Answer))
	}
}

// writeTreatment leaves out what istiod itself does at every server.
func writeTreatment(line func(name, format string, args ...any), h *mizzen.TraceHop) {
	t := h.Treatment
	if h.Direction == mizzen.TraceInbound && h.Rule.Ref.Kind == "" {
		t.Retries = nil
	} else if t.TimeoutMilliseconds == 0 && h.Route != "" && len(h.Destinations) > 0 {
		line("timeout", "none")
	}
	for _, text := range treatmentWords(&t) {
		line(text[0], "%s", text[1])
	}
}

func hopKind(h *mizzen.TraceHop) string {
	switch {
	case h.Direction == mizzen.TraceGateway:
		return "gateway"
	case h.Direction == mizzen.TraceWaypoint:
		return "waypoint"
	case !h.Proxy:
		return "no sidecar"
	case h.Ztunnel:
		return string(h.Direction) + " ztunnel"
	}
	return string(h.Direction) + " sidecar"
}

func writeConnection(line func(name, format string, args ...any), h *mizzen.TraceHop) {
	if h.Listener != "" {
		text := h.Listener
		if h.FilterChain != "" && h.FilterChain != h.Listener {
			text += ", filter chain " + h.FilterChain
		}
		line("listener", "%s", text)
	}
	if h.Direction == mizzen.TraceOutbound {
		return
	}
	text := h.Security
	if h.Peer != "" {
		text += " by " + h.Peer
	}
	if len(h.Accepts) > 0 {
		text += "; the port takes " + strings.Join(h.Accepts, " and ")
	}
	line("arrives", "%s", text)
}

func writePolicies(w *printer, h *mizzen.TraceHop, s Style) {
	for _, p := range h.Policies {
		w.printf("    policy     ")
		writePolicy(w, p, s)
	}
	if len(h.Policies) == 0 && h.Direction == mizzen.TraceInbound && h.Proxy && h.FilterChain != "" {
		w.printf("    policy     none: whoever gets here may call\n")
	}
}

func writePolicy(w *printer, p mizzen.TracePolicy, s Style) {
	color := faint
	switch p.Result {
	case "allows":
		color = green
	case "denies":
		color = red
	case "unknown":
		color = yellow
	}
	w.printf("%s", s.paint(color, p.Result))
	if p.Rule.Ref.Kind != "" {
		writeRule(w, p.Rule, s)
	} else if p.Name != "" {
		w.printf("  %s", p.Name)
	}
	if p.Action != "" {
		w.printf(" (%s)", p.Action)
	}
	if p.Reason != "" {
		w.printf(": %s", p.Reason)
	}
	w.printf("\n")
}

// writeRoute writes what was tried, in order, and then what matched.
func writeRoute(w *printer, h *mizzen.TraceHop, s Style) {
	for _, t := range h.Tried {
		w.printf("    %s", s.paint(faint, "tried    "))
		if t.Rule.Ref.Kind == "" {
			w.printf("  %s", t.Route)
		}
		writeRule(w, t.Rule, s)
		w.printf(": %s\n", t.Reason)
	}
	switch {
	case h.Rule.Ref.Kind != "":
		w.printf("    rule     ")
		writeRule(w, h.Rule, s)
		w.printf("\n")
	case h.Route != "" && h.Direction != mizzen.TraceInbound:
		w.printf("    rule       none: the route %q that istiod makes by itself\n", h.Route)
	}
}

// treatmentWords are the lines of what a rule does beside sending on.
func treatmentWords(t *mizzen.TraceTreatment) (lines [][2]string) {
	add := func(name, format string, args ...any) {
		lines = append(lines, [2]string{name, fmt.Sprintf(format, args...)})
	}
	if t.TimeoutMilliseconds != 0 {
		add("timeout", "%s", milliseconds(t.TimeoutMilliseconds))
	}
	if r := t.Retries; r != nil {
		text := fmt.Sprintf("%d on %s", r.Attempts, strings.Join(r.On, ", "))
		if r.PerTryMilliseconds != 0 {
			text += ", " + milliseconds(r.PerTryMilliseconds) + " each"
		}
		add("retries", "%s", text)
	}
	if t.Path != "" {
		add("rewrite", "path %s", t.Path)
	}
	if t.Host != "" {
		add("rewrite", "host %s", t.Host)
	}
	for _, m := range t.Mirrors {
		add("mirror", "%s of the requests to %s", percent(m.Percent), place(m.Host, m.Port, m.Subset))
	}
	if f := t.Delay; f != nil {
		add("fault", "%s wait %s", percent(f.Percent), milliseconds(f.Milliseconds))
	}
	if f := t.Abort; f != nil {
		add("fault", "%s get %d", percent(f.Percent), f.Status)
	}
	for _, h := range t.Headers {
		add("header", "%s", headerChange(h))
	}
	return lines
}

func headerChange(h mizzen.TraceHeader) string {
	text := h.On + ", " + h.Action + " " + h.Name
	if h.Value != "" {
		text += ": " + h.Value
	}
	return text
}

// milliseconds writes a duration in seconds if it is a whole number of them.
func milliseconds(n int64) string {
	if n%1000 == 0 {
		return fmt.Sprintf("%d s", n/1000)
	}
	return fmt.Sprintf("%d ms", n)
}

// place is a destination in words.
func place(host string, port uint32, subset string) string {
	text := host
	if port != 0 {
		text += fmt.Sprintf(":%d", port)
	}
	if subset != "" {
		text += " subset " + subset
	}
	return text
}

func writeDestination(w *printer, d *mizzen.TraceDestination, s Style) {
	where := d.Cluster
	if d.Host != "" {
		where = place(d.Host, d.Port, d.Subset)
	}
	w.printf("    to         %s %s", painted(fmt.Sprintf("%-6s", percent(d.Percent))), where)
	if at := d.Origin.String(); at != "" {
		w.printf("  %s", s.paint(faint, at))
	}
	w.printf("\n")
	if d.Rule.Ref.Kind != "" {
		w.printf("                 by")
		writeRule(w, d.Rule, s)
		w.printf("\n")
	}
	for _, h := range d.Headers {
		w.printf("                 header %s\n", headerChange(h))
	}
	for _, e := range d.Workloads {
		w.printf("                 ")
		if e.Percent != 100 {
			w.printf("%s ", percent(e.Percent))
		}
		w.printf("%s, %s\n", e.Workload, e.Security)
	}
	if d.Fails != "" {
		w.printf("                 %s\n", s.paint(red, d.Fails))
	}
}
