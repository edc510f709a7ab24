package helm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"runtime/metrics"
	"strings"
	"time"

	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/engine"

	"mizzen.dev/mizzen"
)

const (
	// maxHeap bounds the memory that templates may take, below what kills a
	// worker, so that the error can say what happened; maxOutput bounds what they
	// print.
	maxHeap   = 320 << 20
	maxOutput = 64 << 20
	// watchInterval is how often memory is looked at.
	watchInterval = 20 * time.Millisecond
)

// execute runs the templates.
func (r *rendering) execute(ctx context.Context) error {
	seen := &calls{}
	rendered, err := r.run(ctx, r.loaded.chart, r.values, seen)
	if err != nil {
		return err
	}
	total := 0
	for _, text := range rendered {
		total += len(text)
	}
	if total > maxOutput {
		return r.outOfBounds(mizzen.TooLarge, fmt.Errorf("templates print %d MiB, more than the %d allowed", total>>20, maxOutput>>20))
	}
	r.rendered = rendered
	called := seen.called()
	r.out.Nondeterministic = len(called) > 0
	r.out.Findings = append(r.out.Findings, nondeterminism(r.templates, called)...)
	return nil
}

type outcome struct {
	rendered map[string]string
	err      error
}

// run lets Helm's engine render. The engine cannot be interrupted: when time
// or memory is up, it is left running, and its process must be ended.
func (r *rendering) run(ctx context.Context, c *chart.Chart, root common.Values, seen *calls) (map[string]string, error) {
	done := make(chan outcome, 1)
	// Templates may change values, which must not show in another run.
	fresh, _ := deepCopy(root).(common.Values)
	go func() {
		e := engine.Engine{CustomTemplateFuncs: functions(seen)}
		rendered, err := e.Render(c, fresh)
		done <- outcome{rendered, err}
	}()
	before := heap()
	watch := time.NewTicker(watchInterval)
	defer watch.Stop()
	for {
		select {
		case o := <-done:
			if o.err != nil {
				return nil, templateError(errors.New(hideSecrets(o.err.Error(), root["Values"])), r.templates)
			}
			return o.rendered, nil
		case <-ctx.Done():
			return nil, r.outOfBounds(mizzen.Timeout, fmt.Errorf("templates did not end in time: %w", ctx.Err()))
		case <-watch.C:
			if used := heap() - before; used > maxHeap {
				return nil, r.outOfBounds(mizzen.TooLarge, fmt.Errorf("templates take more than the %d MiB of memory allowed", maxHeap>>20))
			}
		}
	}
}

func (r *rendering) outOfBounds(kind mizzen.Kind, err error) error {
	return &mizzen.Error{
		Kind: kind, Object: "chart " + r.loaded.chart.Name(), Origin: mizzen.Origin{File: path.Join(r.options.Path, "Chart.yaml")},
		Err: err, Remedy: "look for a range, repeat or include without an end, or divide the chart",
	}
}

// heap returns the bytes of live and not yet collected objects.
func heap() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(sample[0].Value.Uint64())
}

func asText(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return text
}

// isNotes reports whether a template is the note that Helm shows to people.
func isNotes(name string) bool { return strings.HasSuffix(name, "NOTES.txt") }

// deepCopy copies the tables and lists of values.
func deepCopy(v any) any {
	switch v := v.(type) {
	case common.Values:
		return common.Values(copyTable(v))
	case map[string]any:
		return copyTable(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = deepCopy(v[i])
		}
		return list
	}
	return v
}

func copyTable(t map[string]any) map[string]any {
	table := make(map[string]any, len(t))
	for key, value := range t {
		table[key] = deepCopy(value)
	}
	return table
}
