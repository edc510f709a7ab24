package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/diff"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/lint"
	"mizzen.dev/mizzen/internal/report"
	"mizzen.dev/mizzen/internal/source"
)

// lintFailOn are the values of lint --fail-on, from the most patient.
var lintFailOn = []string{string(mizzen.Fatal), string(mizzen.Warning), string(mizzen.Info)}

func (a *app) lintCommand() *cobra.Command {
	var (
		out   outputFlag
		flags renderFlags
		on    string
	)
	cmd := &cobra.Command{
		Use:   "lint [PATH...]",
		Short: "Find what is wrong with manifests, without a cluster",
		Long: "Renders directories of a clone and judges the objects by the schemas of Kubernetes, Istio, the Gateway API\n" +
			"and of the CustomResourceDefinitions beside them. Below a path, every Application that the clone holds is\n" +
			"rendered with its own options; where there is none, the path itself is.\n\n" +
			"The exit code is 1 if there is a finding of the severity of --fail-on or worse.",
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("--fail-on", on, lintFailOn); err != nil {
				return err
			}
			d, err := a.desk()
			if err != nil {
				return err
			}
			defer d.close()
			findings, err := d.lint(cmd.Context(), args, &flags)
			if err != nil {
				return err
			}
			if err := a.printFindings(findings, out); err != nil {
				return err
			}
			return lintAnswer(findings, mizzen.Severity(on))
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&on, "fail-on", string(mizzen.Fatal), "exit with 1 on findings of this severity or worse: "+strings.Join(lintFailOn, ", "))
	complete(cmd, "fail-on", lintFailOn)
	out.register(cmd, "text", "json", "yaml", "sarif", "github")
	return cmd
}

func lintAnswer(findings []mizzen.Finding, on mizzen.Severity) error {
	for _, f := range findings {
		if slices.Index(lintFailOn, string(f.Severity)) <= slices.Index(lintFailOn, string(on)) {
			return answer(ExitNo)
		}
	}
	return nil
}

func (a *app) printFindings(findings []mizzen.Finding, out outputFlag) error {
	switch out.format {
	case "sarif":
		return report.SARIF(a.Out, findings, version())
	case "github":
		return report.GitHub(a.Out, findings)
	}
	list := struct {
		Items []mizzen.Finding `json:"items"`
	}{findings}
	return out.write(a.Out, "findings", list, func() error { return report.FindingsText(a.Out, findings, a.style()) })
}

// lint returns what is to be said about paths, sorted and each thing once.
func (d *desk) lint(ctx context.Context, paths []string, flags *renderFlags) ([]mizzen.Finding, error) {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	findings, objects, directories := []mizzen.Finding{}, 0, 0
	for _, name := range paths {
		c, err := d.open(ctx, name)
		if err != nil {
			return nil, err
		}
		todo, err := d.worksOf(ctx, c, flags)
		if err != nil {
			return nil, err
		}
		for _, w := range todo {
			found, n, err := d.lintOne(ctx, c, w)
			if err != nil {
				return nil, err
			}
			findings = append(findings, found...)
			objects, directories = objects+n, directories+1
		}
	}
	mizzen.SortFindings(findings)
	findings = slices.CompactFunc(findings, sameFinding)
	fmt.Fprintf(d.app.Err, "%s in %s rendered: %s\n", plural(objects, "object"), plural(directories, "path"), tally(findings))
	return findings, nil
}

func sameFinding(a, b mizzen.Finding) bool {
	return a.Code == b.Code && a.Ref == b.Ref && a.Path == b.Path && a.Message == b.Message && a.Origin.String() == b.Origin.String()
}

func tally(findings []mizzen.Finding) string {
	count := map[mizzen.Severity]int{}
	for _, f := range findings {
		count[f.Severity]++
	}
	return plural(count[mizzen.Fatal], "error") + ", " + plural(count[mizzen.Warning], "warning") + ", " + plural(count[mizzen.Info], "note")
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// worksOf is what lint renders for one path.
func (d *desk) worksOf(ctx context.Context, c *clone, flags *renderFlags) ([]work, error) {
	if flags.application != "" {
		w, err := flags.named(ctx, d, c)
		return []work{w}, err
	}
	if flags.renderer == "" && len(flags.values) == 0 {
		apps, err := d.applications(ctx, c, flags)
		if err != nil {
			return nil, err
		}
		var todo []work
		for _, app := range apps {
			w := flags.of(app)
			if w.options.Path != c.Path && c.Path != "." && !strings.HasPrefix(w.options.Path, c.Path+"/") {
				continue
			}
			if _, err := fs.Stat(c.Snapshot, w.options.Path); errors.Is(err, fs.ErrNotExist) {
				fmt.Fprintf(d.app.Err, "warning: application %s has path %s, which is not in this clone\n", app.Name, report.Plain(w.options.Path))
				continue
			}
			todo = append(todo, w)
		}
		if len(todo) > 0 {
			return todo, nil
		}
	}
	w, err := flags.plain(c)
	return []work{w}, err
}

// lintOne judges one directory. Files that cannot be rendered are a Finding
// too; an error means that nothing can be said.
func (d *desk) lintOne(ctx context.Context, c *clone, w work) ([]mizzen.Finding, int, error) {
	w.options.FieldOrigins = true
	result, err := d.engine.Renderer.Render(ctx, c.Snapshot, w.options)
	if err != nil {
		f, ok := engine.RenderFinding(w.options.Path, source.Explain(ctx, c.Snapshot, err))
		if !ok || ctx.Err() != nil {
			return nil, 0, err
		}
		findings, err := source.Problems(ctx, c.Snapshot, w.options.Path)
		return append(findings, f), 0, err
	}
	findings, err := source.Problems(ctx, c.Snapshot, append(result.Key.Elsewhere(), w.options.Path)...)
	if err != nil {
		return nil, 0, err
	}
	findings = append(findings, result.Output.Findings...)
	objects, prepared, err := diff.Prepare(result.Output.Objects, diff.PrepareOptions{
		Application: mizzen.Name{Namespace: mizzen.SystemNamespace, Name: w.name}, Namespace: w.options.Namespace,
		// Without a cluster the scope of a kind is not known.
		Scope: func(schema.GroupVersionKind) (namespaced, known bool) { return false, false },
	})
	if err != nil {
		return nil, 0, err
	}
	checked, err := lint.Check(ctx, objects, lint.Offline())
	return append(append(findings, prepared...), checked...), len(result.Output.Objects), err
}
