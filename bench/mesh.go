package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen/api/v1alpha1"
)

// mesh is a live lab with the demo's shop, as `make up` starts it.
type mesh struct {
	*lab
	// answers and synced are how long after the start of the command the gateway
	// answered, and all Applications were Ready.
	answers, synced float64
	// mizzen is the process of the controller.
	mizzen int
}

// shop is the mesh that measurements share. It starts one if there is none.
func (b *bench) shop(ctx context.Context) (*mesh, error) {
	if b.mesh != nil {
		return b.mesh, nil
	}
	dir, err := os.MkdirTemp("", "mizzen-bench-")
	if err != nil {
		return nil, err
	}
	b.mesh = &mesh{lab: &lab{dir: dir}}
	if err := b.mesh.up(ctx); err != nil {
		b.close()
		return nil, err
	}
	return b.mesh, nil
}

// close ends the shared mesh, if there is one.
func (b *bench) close() {
	if b.mesh != nil {
		b.mesh.close()
		b.mesh = nil
	}
}

// glance is how often the start of a mesh is looked at.
const glance = 200 * time.Millisecond

func (m *mesh) up(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	start := time.Now()
	g.Go(func() error {
		cmd := exec.CommandContext(ctx, "hack/up.sh")
		cmd.Env = append(os.Environ(), "MIZZEN_LAB="+m.state(), "LAB=live", "TRACING=")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("hack/up.sh: %w: %s", err, out)
		}
		return nil
	})
	g.Go(func() error {
		// The status is that of a lab that begins, until it is told where all is.
		err := until(ctx, func() bool { return m.connect(ctx) == nil && m.urls["gateway"] != "" })
		if err != nil {
			return err
		}
		g.Go(func() error {
			err := until(ctx, func() bool { return m.answersNow(ctx) })
			m.answers = time.Since(start).Seconds()
			return err
		})
		g.Go(func() error {
			err := until(ctx, func() bool { return m.syncedNow(ctx) })
			m.synced = time.Since(start).Seconds()
			return err
		})
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return m.find()
}

// until looks at every glance until it is satisfied.
func until(ctx context.Context, look func() bool) error {
	return poll(ctx, func() (bool, error) {
		if look() {
			return true, nil
		}
		return false, sleep(ctx, glance)
	})
}

// answersNow says whether the shop answers through the gateway.
func (m *mesh) answersNow(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.urls["gateway"]+"/", nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// syncedNow says whether all Applications are Ready. Those that there are now
// are all once the one that brings the others is Ready.
func (m *mesh) syncedNow(ctx context.Context) bool {
	var list v1alpha1.ApplicationList
	if m.client.List(ctx, &list, client.InNamespace("mizzen-system")) != nil {
		return false
	}
	root := false
	for _, app := range list.Items {
		if !meta.IsStatusConditionTrue(app.Status.Conditions, v1alpha1.ConditionReady) {
			return false
		}
		root = root || app.Name == "apps"
	}
	return root
}

// find looks up the processes of the lab as it runs now.
func (m *mesh) find() error {
	b, err := os.ReadFile(filepath.Join(m.state(), "programs", "mizzen.json"))
	if err != nil {
		return err
	}
	var program struct{ Process struct{ PID int } }
	if err := json.Unmarshal(b, &program); err != nil {
		return err
	}
	m.mizzen = program.Process.PID
	return nil
}

// footprint is what the lab and Mizzen hold and have spent.
type footprint struct {
	processes int
	// bytes is all memory, proxies the part of sidecars and gateways.
	bytes, proxies float64
	// resident counts the processes of which only resident memory is known.
	resident int
	cpu      time.Duration
}

func (m *mesh) footprint() (f footprint) {
	for _, p := range tree(m.supervisor, m.mizzen) {
		bytes, shared := p.memory()
		f.processes++
		f.bytes += float64(bytes)
		f.cpu += p.cpu
		if p.isProxy() {
			f.proxies += float64(bytes)
		}
		if !shared && bytes > 0 {
			f.resident++
		}
	}
	return f
}

// meshReady measures the start of the mesh and of the shop from built binaries.
func meshReady(ctx context.Context, b *bench) error {
	var answers, synced []float64
	for range min(b.runs, 3) {
		b.close()
		m, err := b.shop(ctx)
		if err != nil {
			return err
		}
		answers, synced = append(answers, m.answers), append(synced, m.synced)
	}
	b.results.keep("mesh/answers-seconds", answers...)
	b.results.keep("mesh/synced-seconds", synced...)
	samples := fmt.Sprintf("%d runs", len(answers))
	b.results.add("`make up` from built binaries until the shop, synced from Git, answers through the gateway", spread(answers, "%.1f s"), "<= 25 s", samples)
	b.results.add("and until all Applications of the demo are Ready", spread(synced, "%.1f s"), "", samples)
	return nil
}

// meshRest measures what the lab takes when nobody uses the shop.
func meshRest(ctx context.Context, b *bench) error {
	m, err := b.shop(ctx)
	if err != nil {
		return err
	}
	if err := sleep(ctx, 20*time.Second); err != nil {
		return err
	}
	// One after the other: what a garbage collector or a resync does comes in
	// some of them.
	var bytes, cores []float64
	var last footprint
	for range min(b.runs, 5) {
		start, before := time.Now(), m.footprint()
		if err := sleep(ctx, 30*time.Second); err != nil {
			return err
		}
		last = m.footprint()
		bytes = append(bytes, last.bytes/1e9)
		cores = append(cores, (last.cpu-before.cpu).Seconds()/time.Since(start).Seconds())
	}
	b.results.keep("rest/gigabytes", bytes...)
	b.results.keep("rest/cores", cores...)
	what := fmt.Sprintf("lab, Mizzen and shop at rest: memory of all %d processes", last.processes)
	if last.resident > 0 {
		what += fmt.Sprintf(", resident memory for %d of them", last.resident)
	}
	samples := fmt.Sprintf("%d times 30 s", len(cores))
	b.results.add(what, spread(bytes, "%.2f GB"), "<= 2 GB", samples)
	b.results.add("processor time of all of it", spread(cores, "%.2f cores"), "<= 0.15", samples)
	return nil
}
