package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/report"
)

// failOn are the values of plan --fail-on, from the most patient.
var failOn = []string{"none", "error", "deny", "approval", "change"}

func (a *app) planCommand() *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan APPLICATION | plan --base REVISION [DIRECTORY]",
		Short: "Show what a sync would do, or what a pull request changes",
		Long: "Renders an Application and compares it with its cluster, without a write. It says what the step from the\n" +
			"synced revision does to traffic, and what the policy of the repository says of it, as the gate of an\n" +
			"Application does: among all that the cluster has.\n\n" +
			"In a clone of the Application's repository the files as they are count, so that a plan can be made\n" +
			"before the push. The exit code is 0 if nothing would change and 1 if something would; --fail-on says\n" +
			"otherwise, for CI. What cannot be told about traffic is a finding, but with deny and approval an error.\n\n" +
			"With --base it reviews a change of the repository, in any clone, without a cluster: it compares --head, or\n" +
			"the files as they are, with the commit at which they parted from the base (as 'git diff BASE...HEAD' does).\n" +
			"It covers every Application that the repository declares: Mizzen's, those of Argo CD, and the Kustomizations\n" +
			"and HelmReleases of Flux. Where there is none, or where a directory is named, it covers every chart and\n" +
			"kustomization below, or else the plain manifests.",
		Args:              arguments(0, 1),
		ValidArgsFunction: a.completeApplications,
		RunE:              func(cmd *cobra.Command, args []string) error { return a.runPlan(cmd, args, o) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.all, "all", false, "plan all Applications of the namespace")
	f.StringVar(&o.content.local, "local", "", "use the files of this clone, whatever its origin")
	f.StringVar(&o.content.revision, "revision", "", "plan a branch, tag or commit of the repository")
	f.StringVar(&o.file, "out", "", "write the plan to a file, for 'mizzen sync --plan'")
	f.StringVar(&o.failOn, "fail-on", "change", "exit with 1 on: none, error (findings that stop a sync), deny, approval (a verdict), change")
	f.DurationVar(&o.timeout, "timeout", 0, "give up after this long (0: never)")
	complete(cmd, "fail-on", failOn)
	o.review.register(cmd)
	o.output.register(cmd, "text", "json", "yaml", "markdown", "sarif", "github")
	return cmd
}

// planOptions are the flags of plan.
type planOptions struct {
	content contentFlags
	output  outputFlag
	review  reviewFlags
	all     bool
	file    string
	failOn  string
	timeout time.Duration
}

// check refuses flags that do not go together.
func (o planOptions) check(cmd *cobra.Command, args []string) error {
	if err := o.checkReview(args); err != nil {
		return err
	}
	switch {
	case o.review.base != "":
	case o.all && len(args) > 0:
		return fmt.Errorf("%q and --all exclude each other", args[0])
	case o.all && o.file != "":
		return errors.New("--out takes one plan: name the application")
	case !o.all && len(args) == 0:
		return arguments(1, 1)(cmd, args)
	}
	return oneOf("--fail-on", o.failOn, failOn)
}

func (a *app) runPlan(cmd *cobra.Command, args []string, o planOptions) error {
	if err := o.check(cmd, args); err != nil {
		return err
	}
	ctx, cancel := bounded(cmd.Context(), o.timeout)
	defer cancel()
	if o.review.base != "" {
		return a.runReview(ctx, args, o)
	}
	d, err := a.desk()
	if err != nil {
		return err
	}
	defer d.close()
	d.assesses, d.judges = true, judges(o.failOn)
	if o.all {
		return a.planAll(ctx, d, o)
	}
	p, err := a.plan(ctx, d, args[0], o.content)
	if err != nil {
		return err
	}
	if o.file != "" {
		if err := writePlan(o.file, p.Plan); err != nil {
			return err
		}
	}
	if err := a.showPlan(p.Plan, o.output); err != nil {
		return err
	}
	return planAnswer(p.Plan, o.failOn)
}

// planAll plans one Application after the other. One that cannot be planned is
// told of, and does not keep the others from it.
func (a *app) planAll(ctx context.Context, d *desk, o planOptions) error {
	c, _, err := a.kube.client()
	if err != nil {
		return err
	}
	var apps v1alpha1.ApplicationList
	if err := c.List(ctx, &apps, client.InNamespace(a.kube.defaultNamespace())); err != nil {
		return explain(err, "applications", "")
	}
	plans := []*mizzen.Plan{}
	var worst error
	for _, app := range apps.Items {
		p, err := a.plan(ctx, d, app.Namespace+"/"+app.Name, o.content)
		if ctx.Err() != nil {
			return tooLate(ctx)
		}
		if err != nil {
			fmt.Fprintf(a.Err, "%s: %s\n", app.Name, report.Plain(err.Error()))
			worst = answer(ExitUnknown)
			continue
		}
		plans = append(plans, p.Plan)
		if no := planAnswer(p.Plan, o.failOn); worst == nil {
			worst = no
		}
	}
	if err := a.showPlans(plans, o.output); err != nil {
		return err
	}
	return worst
}

// plan computes the plan of one Application.
func (a *app) plan(ctx context.Context, d *desk, name string, f contentFlags) (*engine.Planned, error) {
	c, config, err := a.kube.client()
	if err != nil {
		return nil, err
	}
	app, err := a.kube.application(ctx, c, name)
	if err != nil {
		return nil, err
	}
	return a.planOf(ctx, d, c, config, app, f)
}

func (a *app) planOf(ctx context.Context, d *desk, c client.Client, config *rest.Config, app *v1alpha1.Application, f contentFlags) (*engine.Planned, error) {
	object := "application " + app.Namespace + "/" + app.Name
	t, err := d.target(ctx, c, config, app, f)
	if err != nil {
		return nil, explain(err, object, "")
	}
	p, err := d.engine.Plan(ctx, t)
	if err == nil && d.assesses {
		err = d.assess(ctx, c, app, t, p)
	}
	if err != nil {
		return nil, explain(err, object, "")
	}
	return p, nil
}

func (a *app) showPlan(p *mizzen.Plan, o outputFlag) error {
	switch o.format {
	case "markdown":
		return report.PlanMarkdown(a.Out, p)
	case "sarif", "github":
		return a.printFindings(&linted{Items: report.PlanFindings(p)}, o)
	}
	return o.write(a.Out, "plan", p, func() error { return report.PlanText(a.Out, p, a.style()) })
}

func (a *app) showPlans(plans []*mizzen.Plan, o outputFlag) error {
	list := struct {
		Items []*mizzen.Plan `json:"items"`
	}{plans}
	if o.format == "sarif" || o.format == "github" {
		var findings []mizzen.Finding
		for _, p := range plans {
			findings = append(findings, report.PlanFindings(p)...)
		}
		return a.printFindings(&linted{Items: findings}, o)
	}
	return o.write(a.Out, "plans", list, func() error {
		for i, p := range plans {
			if i > 0 {
				fmt.Fprintln(a.Out)
			}
			if err := a.showPlan(p, o); err != nil {
				return err
			}
		}
		return nil
	})
}

// planAnswer is no if something is as bad as --fail-on, or worse. What stops a
// sync counts for all values but none.
func planAnswer(p *mizzen.Plan, on string) error {
	decision := mizzen.Allow
	if p.Verdict != nil {
		decision = p.Verdict.Decision
	}
	bad := mizzen.Worst(p.Findings) == mizzen.Fatal
	switch on {
	case "none":
		return nil
	case "deny":
		bad = bad || decision == mizzen.Deny
	case "approval":
		bad = bad || decision != mizzen.Allow
	case "change":
		bad = bad || p.Writes()
	}
	if bad {
		return answer(ExitNo)
	}
	return nil
}

func writePlan(file string, p *mizzen.Plan) error {
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(b, '\n'), 0o600)
}

func readPlan(file string) (*mizzen.Plan, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, &mizzen.Error{Kind: mizzen.NotFound, Object: "plan " + file, Err: err, Remedy: "write it with 'mizzen plan --out'"}
	}
	var p mizzen.Plan
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, &mizzen.Error{Kind: mizzen.Invalid, Object: "plan " + file, Err: err, Remedy: "write it with 'mizzen plan --out'"}
	}
	if p.Schema != mizzen.PlanSchema {
		return nil, &mizzen.Error{
			Kind: mizzen.Invalid, Object: "plan " + file, Err: fmt.Errorf("its schema is %q, not %s", p.Schema, mizzen.PlanSchema),
			Remedy: "write it anew with this version of mizzen",
		}
	}
	if p.Digest != p.ComputeDigest() {
		return nil, &mizzen.Error{
			Kind: mizzen.Refused, Object: "plan " + file, Err: errors.New("it was changed after it was written"), Remedy: "plan again",
		}
	}
	return &p, nil
}
