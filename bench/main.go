// Command bench measures Mizzen on a lab of its own, beside baselines in the
// same run, and writes RESULTS.md and the raw samples. It judges nothing: a
// figure is a ratio or a distribution, and the machine is said.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// measurement is one figure, or several that are measured together.
type measurement struct {
	name string
	run  func(context.Context, *bench) error
}

var measurements = []measurement{
	{"lab-ready", labReady},
	{"live-ready", liveReady},
	{"first-sync", firstSync},
	{"large-sync", largeSync},
	{"change", change},
	{"idle", idle},
	{"drift", drift},
	{"memory", memory},
	{"plan-demo", planDemo},
	{"plan-city", planCity},
	{"plan-settings", planSettings},
	{"plan-warm", planWarm},
	{"analysis", analysis},
	{"trace", traceWarm},
	{"mesh-ready", meshReady},
	// These go on with the last lab of mesh-ready.
	{"mesh-rest", meshRest},
	{"sidecars", sidecars},
	{"pods", pods},
	{"self-heal-mesh", selfHealMesh},
}

func main() {
	runs := flag.Int("runs", 5, "alternating runs of what is compared with a baseline")
	only := flag.String("only", "", "comma-separated names of measurements")
	profiles := flag.String("profiles", "", "directory for profiles of Mizzen: CPU of first syncs, heap when full")
	scale := flag.Float64("scale", 1, "size of everything, for trying the bench out")
	write := flag.Bool("write", false, "with -only: replace what RESULTS.md and samples.json say of these measurements, and keep the rest")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{runs: *runs, scale: *scale, profiles: *profiles, results: &results{}}
	if err := measure(ctx, b, *only, *write); err != nil {
		log.Fatal(err)
	}
}

// enoughRuns is how many runs a median that is published comes from.
const enoughRuns = 5

// measure takes the measurements. Those of a whole bench, and those that are to
// replace earlier ones, are written after each, so that a later failure does
// not cost them; others are only shown.
func measure(ctx context.Context, b *bench, only string, write bool) error {
	defer b.close()
	write, err := b.begin(only, write)
	if err != nil {
		return err
	}
	for _, m := range chosen(only) {
		fmt.Fprintf(os.Stderr, "== %s\n", m.name)
		b.results.begin(m.name)
		if err := m.run(ctx, b); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		b.results.finish(names(measurements))
		if !write {
			continue
		}
		if err := b.results.write(directory, b.results.missing(names(measurements))); err != nil {
			return err
		}
	}
	if !write {
		fmt.Println(b.results.markdown(nil))
	}
	return nil
}

// begin says whether what is taken is written, and reads what is to be kept.
func (b *bench) begin(only string, write bool) (bool, error) {
	fit := b.scale == 1 && b.runs >= enoughRuns
	switch {
	case write && !fit:
		return false, fmt.Errorf("what is written is of -scale 1 and -runs %d at least", enoughRuns)
	case only == "":
		return fit, nil
	case write:
		return true, b.results.read(directory)
	}
	return false, nil
}

// chosen are the measurements of a comma-separated list of names, or all.
func chosen(only string) (chosen []measurement) {
	for _, m := range measurements {
		if only == "" || slices.Contains(strings.Split(only, ","), m.name) {
			chosen = append(chosen, m)
		}
	}
	return chosen
}

func names(of []measurement) (names []string) {
	for _, m := range of {
		names = append(names, m.name)
	}
	return names
}

// bench is what measurements share.
type bench struct {
	runs  int
	scale float64
	// profiles is where profiles go; "" makes none.
	profiles string
	results  *results
	// mesh is the lab that measurements of the mesh share.
	mesh *mesh
}

// times says how many runs a figure comes from.
func (b *bench) times() string { return fmt.Sprintf("%d runs", b.runs) }

// n scales a count.
func (b *bench) n(count int) int { return max(1, int(float64(count)*b.scale)) }
