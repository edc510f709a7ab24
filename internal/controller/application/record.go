package application

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/report"
)

// maxChanges is how many changed objects a record names.
const maxChanges = 8

// recordOf is a sync as the history tells it.
func recordOf(p *engine.Planned, o *engine.Outcome, result v1alpha1.SyncResult, message string, start time.Time, took time.Duration) v1alpha1.SyncRecord {
	record := v1alpha1.SyncRecord{
		Revision: p.Commit.ID, Author: clip(p.Commit.Author, 100), Subject: clip(p.Commit.Subject, 200),
		Result: result, Message: clip(message, maxMessage), Started: metav1.NewTime(start), Milliseconds: took.Milliseconds(),
		Counts: v1alpha1.SyncCounts(o.Counts),
	}
	written := o.Written
	mizzen.SortChanges(written)
	for _, c := range written[:min(len(written), maxChanges)] {
		record.Changes = append(record.Changes, clip(c.String(), 200))
	}
	return record
}

// Record writes what became of a sync that was carried out without a
// controller: history, inventory and conditions. Health is for a controller to
// judge.
func Record(ctx context.Context, c client.Client, app *v1alpha1.Application, p *engine.Planned, o *engine.Outcome, start time.Time, took time.Duration, syncErr error) error {
	before := app.DeepCopy()
	if err := writeInventory(ctx, c, app, o.Inventory); err != nil {
		return err
	}
	status := &app.Status
	status.Attempted, status.Findings = p.Commit.ID, summarize(p.Findings)
	f := finding{
		synced:  yes(v1alpha1.ReasonSucceeded, fmt.Sprintf("synced to %s: %s", p.Commit.Short(), o.Counts)),
		healthy: unknown(v1alpha1.ReasonHealthUnknown, "no controller judges it"),
	}
	result, message := v1alpha1.SyncSucceeded, o.Counts.String()
	if syncErr != nil {
		result, message = v1alpha1.SyncFailed, syncErr.Error()
		f.synced = no(v1alpha1.ReasonApplyFailed, message)
	} else {
		status.Revision, status.PlanDigest, status.RenderKey = p.Commit.ID, p.Digest, p.Key.Identity()
	}
	remember(status, recordOf(p, o, result, message, start, took))
	f.write(status, app.Generation, metav1.NewTime(start.Add(took)))
	return c.Status().Patch(ctx, app, client.MergeFrom(before))
}

// summarize says the first Findings in words, without those that only inform.
func summarize(findings []mizzen.Finding) []string {
	const most = 10
	telling := slices.DeleteFunc(slices.Clone(findings), func(f mizzen.Finding) bool { return f.Severity == mizzen.Info })
	var lines []string
	for _, f := range telling[:min(len(telling), most)] {
		lines = append(lines, clip(report.FindingLine(f), 300))
	}
	if more := len(telling) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}
