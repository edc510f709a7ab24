package apply_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/apply"
)

const (
	benchObjects     = 200
	benchConcurrency = 16
)

// BenchmarkRun compares Run with a bare loop of server-side applies, the two
// in turn, over fresh ConfigMaps of 2 KB. "of-bare" is the ratio of the
// medians of their speeds.
func BenchmarkRun(b *testing.B) {
	c := start(b)
	client, err := dynamic.NewForConfig(c.config)
	must(b, err)
	var bare, run []float64
	for i := 0; b.Loop(); i++ {
		bare = append(bare, bareLoop(b, c, client, c.batch(fmt.Sprintf("bare-%d", i))))
		run = append(run, runLoop(b, c, c.batch(fmt.Sprintf("run-%d", i))))
	}
	slices.Sort(bare)
	slices.Sort(run)
	b.ReportMetric(bare[len(bare)/2], "bare-objects/s")
	b.ReportMetric(run[len(run)/2], "objects/s")
	b.ReportMetric(run[len(run)/2]/bare[len(bare)/2], "of-bare")
}

func (c *cluster) batch(name string) []mizzen.Object {
	text := strings.Repeat("x", 1900)
	objects := make([]mizzen.Object, benchObjects)
	for i := range objects {
		objects[i] = c.parse(fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s-%d, namespace: NS, labels: {mizzen.dev/managed: default}}\ndata: {text: %s}", name, i, text))
	}
	return objects
}

func bareLoop(b *testing.B, c *cluster, client dynamic.Interface, objects []mizzen.Object) float64 {
	maps := client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}).Namespace(c.namespace)
	force := true
	work := make(chan mizzen.Object)
	var wg sync.WaitGroup
	began := time.Now()
	for range benchConcurrency {
		wg.Go(func() {
			for obj := range work {
				body, err := json.Marshal(obj.Object)
				if err == nil {
					_, err = maps.Patch(context.Background(), obj.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "bare", Force: &force})
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	for _, obj := range objects {
		work <- obj
	}
	close(work)
	wg.Wait()
	return float64(len(objects)) / time.Since(began).Seconds()
}

func runLoop(b *testing.B, c *cluster, objects []mizzen.Object) float64 {
	p := &mizzen.Plan{}
	for _, obj := range objects {
		p.Changes = append(p.Changes, mizzen.Change{Ref: obj.Ref(), APIVersion: "v1", Action: mizzen.Create, Desired: &obj})
	}
	began := time.Now()
	if _, err := c.writer.Run(context.Background(), p, apply.RunOptions{Concurrency: benchConcurrency}); err != nil {
		b.Fatal(err)
	}
	return float64(len(objects)) / time.Since(began).Seconds()
}
