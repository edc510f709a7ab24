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

// directory is where the results are kept.
const directory = "bench"

// results collects what measurements took: what is under way, and all that is
// finished or was kept by an earlier bench.
type results struct {
	*taken
	all []*taken
}

// taken is what one measurement took.
type taken struct {
	Measurement string `json:"measurement"`
	// Machine is what it was taken on, and at which commit.
	Machine string               `json:"machine"`
	Figures []figure             `json:"figures"`
	Samples map[string][]float64 `json:"samples"`
}

type figure struct {
	What    string `json:"what"`
	Value   string `json:"value"`
	Wanted  string `json:"wanted,omitempty"`
	Samples string `json:"samples"`
}

// begin is called before a measurement is taken.
func (r *results) begin(measurement string) {
	r.taken = &taken{Measurement: measurement, Machine: machine(), Samples: map[string][]float64{}}
}

// finish puts what was taken in the place of what an earlier bench took by the
// same name. All are kept in order; what the order does not name goes.
func (r *results) finish(order []string) {
	r.all = append(slices.DeleteFunc(r.all, func(t *taken) bool {
		return t.Measurement == r.Measurement || !slices.Contains(order, t.Measurement)
	}), r.taken)
	slices.SortStableFunc(r.all, func(a, b *taken) int {
		return slices.Index(order, a.Measurement) - slices.Index(order, b.Measurement)
	})
}

// missing are those of names that were not taken.
func (r *results) missing(names []string) []string {
	return slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(r.all, func(t *taken) bool { return t.Measurement == name })
	})
}

// add notes a figure, what is wanted of it, if anything, and how many samples
// it comes from.
func (r *results) add(what, value, wanted, samples string) {
	fmt.Fprintf(os.Stderr, "   %s: %s\n", what, value)
	r.Figures = append(r.Figures, figure{what, value, wanted, samples})
}

// keep notes raw samples.
func (r *results) keep(name string, samples ...float64) {
	r.Samples[name] = append(r.Samples[name], samples...)
}

// samplesFile has all that RESULTS.md is made from.
const samplesFile = "samples.json"

// read takes over what an earlier bench wrote.
func (r *results) read(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, samplesFile))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &r.all); err != nil {
		return fmt.Errorf("%s: %w", samplesFile, err)
	}
	return nil
}

// write writes the samples and RESULTS.md, which says what is missing yet.
func (r *results) write(dir string, missing []string) error {
	b, err := json.MarshalIndent(r.all, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, samplesFile), append(b, '\n'), 0o644); err != nil {
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
- Memory is each process's proportional share (PSS): what n processes share counts an nth for each.
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
	b.WriteString(r.machines() + "\n| figure | measured | wanted | samples |\n|---|---|---|---|\n")
	for _, t := range r.all {
		for _, f := range t.Figures {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", f.What, f.Value, f.Wanted, f.Samples)
		}
	}
	return b.String()
}

// machines says where and at which commit the figures were taken: each once,
// and which ones if there are several.
func (r *results) machines() string {
	var order []string
	of := map[string][]string{}
	for _, t := range r.all {
		if of[t.Machine] == nil {
			order = append(order, t.Machine)
		}
		of[t.Machine] = append(of[t.Machine], t.Measurement)
	}
	if len(order) == 1 {
		return "Machine: " + order[0] + ".\n"
	}
	var b strings.Builder
	for _, machine := range order {
		fmt.Fprintf(&b, "- %s: %s.\n", strings.Join(of[machine], ", "), machine)
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
