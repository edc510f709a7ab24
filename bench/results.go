package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// results collects figures and the samples that they come from.
type results struct {
	figures []figure
	samples map[string][]float64
}

type figure struct{ what, value, wanted, samples string }

func newResults() *results { return &results{samples: map[string][]float64{}} }

// add notes a figure, what is wanted of it, if anything, and how many samples
// it comes from.
func (r *results) add(what, value, wanted, samples string) {
	fmt.Fprintf(os.Stderr, "   %s: %s\n", what, value)
	r.figures = append(r.figures, figure{what, value, wanted, samples})
}

// keep notes raw samples.
func (r *results) keep(name string, samples ...float64) {
	r.samples[name] = append(r.samples[name], samples...)
}

// write writes the samples and RESULTS.md, which says what is missing yet.
func (r *results) write(dir string, missing []string) error {
	b, err := json.MarshalIndent(r.samples, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "samples.json"), append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "RESULTS.md"), []byte(r.markdown(missing)), 0o644)
}

// preface says how to read the figures.
const preface = `# Figures

Written by ` + "`make bench`" + `; every sample is in ` + "`samples.json`" + `. Ratios compare alternating runs on one machine; absolute
figures are this machine's. A figure with brackets is a median, with the least and the most in them.

- *By our identities* are the requests in the API server's audit log whose User-Agent begins with ` + "`mizzen`" + `: the
  controller's own, and those in which it impersonates a service account.
- Rates vary with what else the machine does, so what has a baseline alternates with it. What has none runs once: the
  change and the drift take 50 and 100 samples each from one run, and what stays the same for a minute, or in the
  heap after a collection, is a count that another run would repeat.

`

func (r *results) markdown(missing []string) string {
	var b strings.Builder
	b.WriteString(preface)
	if len(missing) > 0 {
		fmt.Fprintf(&b, "**Not whole**: %s not measured.\n\n", strings.Join(missing, ", "))
	}
	fmt.Fprintf(&b, "Machine: %s.\n\n| figure | measured | wanted | samples |\n|---|---|---|---|\n", machine())
	for _, f := range r.figures {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.what, f.value, f.wanted, f.samples)
	}
	return b.String()
}

func machine() string {
	cpu := "unknown processor"
	if out, err := exec.Command("sh", "-c", "grep -m1 'model name' /proc/cpuinfo | cut -d: -f2").Output(); err == nil {
		cpu = strings.TrimSpace(string(out))
	}
	commit, _ := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	return fmt.Sprintf("%d cores, %s, %s; commit %s", runtime.NumCPU(), cpu, runtime.Version(), strings.TrimSpace(string(commit)))
}

// quantile returns a quantile of samples, 0..1, by the nearest rank.
func quantile(samples []float64, q float64) float64 {
	if len(samples) == 0 {
		return math.NaN()
	}
	sorted := slices.SortedFunc(slices.Values(samples), cmp.Compare[float64])
	rank := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

func median(samples []float64) float64 { return quantile(samples, 0.5) }

// spread is "median (min to max)".
func spread(samples []float64, format string) string {
	return fmt.Sprintf(format+" ("+format+" to "+format+")", median(samples), quantile(samples, 0), quantile(samples, 1))
}
