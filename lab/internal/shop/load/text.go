package load

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Text prints the report for people.
func (r *Report) Text(w io.Writer) error {
	if r.State == Idle {
		_, err := fmt.Fprintln(w, "idle: nothing was started yet")
		return err
	}
	fmt.Fprintf(w, "%s, %s after the start; %s\n", r.State, seconds(r.DurationSeconds), r.mode())
	fmt.Fprintf(w, "%d requests, %.1f/s, %d failed (%s)", r.Total.Requests, r.RatePerSecond, r.Total.Failed, percent(r.Total.FailedRatio))
	if r.Unsent > 0 {
		fmt.Fprintf(w, ", %d due and not sent", r.Unsent)
	}
	fmt.Fprint(w, "\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TARGET\tVERSION\tREQUESTS\tSHARE\tFAILED\tP50\tP90\tP99\tP99.9\tMAX")
	for _, target := range r.Targets {
		row(t, target.Name, "", "", target.Counts)
		for _, v := range target.Versions {
			row(t, "", v.Name, percent(v.Ratio), v.Counts)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, target := range r.Targets {
		target.notes(w)
	}
	return nil
}

func (r *Report) mode() string {
	if r.OpenLoop {
		return fmt.Sprintf("%v/s over %d connections, latency from when a request was due", r.Config.QPS, r.Config.Connections)
	}
	return fmt.Sprintf("as fast as %d connections allow, latency from sending", r.Config.Connections)
}

func row(w io.Writer, target, version, share string, c Counts) {
	l := c.Latency
	fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", target, version, c.Requests, share, c.Failed,
		seconds(l.P50), seconds(l.P90), seconds(l.P99), seconds(l.P999), seconds(l.Max))
}

func (t *TargetReport) notes(w io.Writer) {
	if t.Resent > 0 {
		fmt.Fprintf(w, "\n%s: %d requests were sent a second time, since the server had closed the connection\n", t.Name, t.Resent)
	}
	if len(t.Failures) > 0 {
		fmt.Fprintf(w, "\n%s: failed requests\n", t.Name)
	}
	for _, f := range t.Failures {
		fmt.Fprintf(w, "%6d  %s\n", f.Count, f.Reason)
		for _, s := range f.First {
			fmt.Fprintf(w, "        +%s %s\n", seconds(s.OffsetSeconds), s.Detail)
		}
	}
}

// percent has two digits more than a share of 1,000 requests needs: one failed
// request of 10,000 is not 0 %.
func percent(ratio float64) string { return fmt.Sprintf("%.2f %%", ratio*100) }

// seconds has four digits at most.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= 10*unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.Round(10 * time.Microsecond).String()
}
