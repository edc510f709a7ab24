package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/diff"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/lint"
	"mizzen.dev/mizzen/internal/lint/mesh"
	"mizzen.dev/mizzen/internal/report"
	"mizzen.dev/mizzen/internal/source"
	istio "mizzen.dev/mizzen/internal/traffic/release"
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
			"and of the CustomResourceDefinitions beside them, and those of one cluster by what they mean to the mesh\n" +
			"together. Below a path, every Application that the clone holds is rendered with its own options; where there\n" +
			"is none, the path itself is. What would need all Applications is only asked of the whole clone.\n\n" +
			"An object silences a finding by the annotation " + mizzen.AnnotationLintIgnore + ": \"CODE: reason\".\n\n" +
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
			found, err := d.lint(cmd.Context(), args, &flags)
			if err != nil {
				return err
			}
			if err := a.printFindings(found, out); err != nil {
				return err
			}
			return lintAnswer(found.Items, mizzen.Severity(on))
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

func (a *app) printFindings(found *linted, out outputFlag) error {
	switch out.format {
	case "sarif":
		return report.SARIF(a.Out, found.Items, version())
	case "github":
		return report.GitHub(a.Out, found.Items)
	}
	return out.write(a.Out, "findings", found, func() error { return report.FindingsText(a.Out, found.Items, a.style()) })
}

// linted is what lint has to say.
type linted struct {
	Items []mizzen.Finding `json:"items"`
	// Suppressed counts what objects ask to ignore.
	Suppressed int `json:"suppressed,omitempty"`
}

// lint returns what is to be said about paths, sorted and each thing once.
func (d *desk) lint(ctx context.Context, paths []string, flags *renderFlags) (*linted, error) {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	// Objects of one cluster are judged together, whichever Application they are of.
	clusters := map[string]*judged{}
	objects, directories := 0, 0
	for _, name := range paths {
		o, n, err := d.lintPath(ctx, name, flags, clusters)
		if err != nil {
			return nil, err
		}
		objects, directories = objects+o, directories+n
	}
	all := &linted{Items: []mizzen.Finding{}}
	for _, name := range slices.Sorted(maps.Keys(clusters)) {
		if err := d.lintTogether(ctx, clusters[name]); err != nil {
			return nil, err
		}
		shown, suppressed := lint.Suppress(clusters[name].findings, clusters[name].objects)
		all.Items, all.Suppressed = append(all.Items, shown...), all.Suppressed+suppressed
	}
	mizzen.SortFindings(all.Items)
	all.Items = slices.CompactFunc(all.Items, sameFinding)
	fmt.Fprintf(d.app.Err, "%s in %s rendered: %s\n", plural(objects, "object"), plural(directories, "path"), all.tally())
	return all, nil
}

// lintPath judges what is below one path, each Application by itself, and adds
// it to the cluster that it goes to. It returns how many objects and
// directories there are.
func (d *desk) lintPath(ctx context.Context, name string, flags *renderFlags, clusters map[string]*judged) (objects, directories int, err error) {
	c, err := d.open(ctx, name)
	if err != nil {
		return 0, 0, err
	}
	todo, err := d.worksOf(ctx, c, flags)
	if err != nil {
		return 0, 0, err
	}
	for _, w := range todo {
		one, n, err := d.lintOne(ctx, c, w)
		if err != nil {
			return 0, 0, err
		}
		if clusters[w.cluster] == nil {
			clusters[w.cluster] = &judged{}
		}
		one.whole = flags.application == "" && (c.Path == "." || !w.application)
		clusters[w.cluster].add(one)
		objects += n
	}
	return objects, len(todo), nil
}

// judged are objects and what is said about them.
type judged struct {
	objects  []mizzen.Object
	findings []mizzen.Finding
	// whole tells that the objects are all that the repository has for the
	// cluster.
	whole bool
}

func (j *judged) add(other judged) {
	j.objects = append(j.objects, other.objects...)
	j.findings = append(j.findings, other.findings...)
	j.whole = j.whole || other.whole
}

// lintTogether adds what the objects of a cluster mean together.
func (d *desk) lintTogether(ctx context.Context, j *judged) error {
	found, err := mesh.Check(ctx, j.objects, mesh.Known{Complete: j.whole})
	if err != nil {
		return err
	}
	j.findings = append(append(j.findings, found...), istio.Findings(j.objects)...)
	if d.engine.Analyzer == nil {
		return nil
	}
	found, err = d.engine.Analyzer.Analyze(ctx, j.objects)
	j.findings = append(j.findings, found...)
	return err
}

func sameFinding(a, b mizzen.Finding) bool {
	return a.Code == b.Code && a.Ref == b.Ref && a.Path == b.Path && a.Message == b.Message && a.Origin.String() == b.Origin.String()
}

func (l *linted) tally() string {
	count := map[mizzen.Severity]int{}
	for _, f := range l.Items {
		count[f.Severity]++
	}
	text := plural(count[mizzen.Fatal], "error") + ", " + plural(count[mizzen.Warning], "warning") + ", " + plural(count[mizzen.Info], "note")
	if l.Suppressed > 0 {
		text += fmt.Sprintf("; %d suppressed", l.Suppressed)
	}
	return text
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

// lintOne judges one directory, and returns how many objects it renders. Files
// that cannot be rendered are a Finding too; an error means that nothing can be
// said.
func (d *desk) lintOne(ctx context.Context, c *clone, w work) (judged, int, error) {
	w.options.FieldOrigins = true
	result, err := d.engine.Renderer.Render(ctx, c.Snapshot, w.options)
	if err != nil {
		f, ok := engine.RenderFinding(w.options.Path, source.Explain(ctx, c.Snapshot, err))
		if !ok || ctx.Err() != nil {
			return judged{}, 0, err
		}
		findings, err := source.Problems(ctx, c.Snapshot, w.options.Path)
		return judged{findings: append(findings, f)}, 0, err
	}
	findings, err := source.Problems(ctx, c.Snapshot, append(result.Key.Elsewhere(), w.options.Path)...)
	if err != nil {
		return judged{}, 0, err
	}
	findings = append(findings, result.Output.Findings...)
	objects, prepared, err := diff.Prepare(result.Output.Objects, diff.PrepareOptions{
		Application: mizzen.Name{Namespace: mizzen.SystemNamespace, Name: w.name}, Namespace: w.options.Namespace,
		Scope: lint.Scope,
	})
	if err != nil {
		return judged{}, 0, err
	}
	checked, err := lint.Check(ctx, objects, lint.Offline())
	return judged{objects: objects, findings: slices.Concat(findings, prepared, checked)}, len(result.Output.Objects), err
}
