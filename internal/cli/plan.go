package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/report"
)

// failOn are the values of plan --fail-on, from the most patient.
var failOn = []string{"none", "error", "change"}

func (a *app) planCommand() *cobra.Command {
	var (
		content  contentFlags
		out      outputFlag
		file, on string
	)
	cmd := &cobra.Command{
		Use:   "plan APPLICATION",
		Short: "Show what a sync would do",
		Long: "Renders an Application and compares it with its cluster, without a write.\n\n" +
			"In a clone of the Application's repository the files as they are count, so that a plan can be made\n" +
			"before the push. The exit code is 0 if nothing would change and 1 if something would.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeApplications,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(failOn, on) {
				return fmt.Errorf("--fail-on %s: use one of none, error, change", on)
			}
			d, err := a.desk()
			if err != nil {
				return err
			}
			defer d.close()
			p, err := a.plan(cmd.Context(), d, args[0], content)
			if err != nil {
				return err
			}
			if file != "" {
				if err := writePlan(file, p.Plan); err != nil {
					return err
				}
			}
			if err := a.showPlan(p.Plan, out.format); err != nil {
				return err
			}
			return planAnswer(p.Plan, on)
		},
	}
	cmd.Flags().StringVar(&content.local, "local", "", "use the files of this clone, whatever its origin")
	cmd.Flags().StringVar(&content.revision, "revision", "", "plan a branch, tag or commit of the repository")
	cmd.Flags().StringVar(&file, "out", "", "write the plan to a file, for 'mizzen sync --plan'")
	cmd.Flags().StringVar(&on, "fail-on", "change", "exit with 1 on: none, error (findings that stop a sync), change")
	out.register(cmd, "text", "json", "yaml", "markdown")
	return cmd
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
	t, err := d.target(ctx, c, config, app, f)
	if err != nil {
		return nil, explain(err, "application "+name, "")
	}
	p, err := d.engine.Plan(ctx, t)
	if err != nil {
		return nil, explain(err, "application "+name, "")
	}
	return p, nil
}

func (a *app) showPlan(p *mizzen.Plan, format string) error {
	switch format {
	case "markdown":
		return report.PlanMarkdown(a.Out, p)
	case "json":
		enc := json.NewEncoder(a.Out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(p)
	case "yaml":
		b, err := yaml.Marshal(p)
		if err != nil {
			return err
		}
		_, err = a.Out.Write(b)
		return err
	}
	return report.PlanText(a.Out, p, report.Style{Color: a.Color})
}

func planAnswer(p *mizzen.Plan, on string) error {
	fatal := mizzen.Worst(p.Findings) == mizzen.Fatal
	switch {
	case on == "none":
		return nil
	case fatal, on == "change" && p.Writes():
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
