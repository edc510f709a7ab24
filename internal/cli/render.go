package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/report"
	"mizzen.dev/mizzen/internal/source"
)

func (a *app) renderCommand() *cobra.Command {
	var (
		out     outputFlag
		flags   renderFlags
		origins bool
	)
	cmd := &cobra.Command{
		Use:   "render [PATH]",
		Short: "Print the objects of a directory, without a cluster",
		Long: "Renders a directory of a clone with Helm, Kustomize or as plain manifests, exactly as the controller does:\n" +
			"changes that are not committed count, and nothing outside of the clone can be read.\n" +
			"With --application the options are those of an Application that the clone holds.",
		Args: arguments(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := a.desk()
			if err != nil {
				return err
			}
			defer d.close()
			flags.options.FieldOrigins = origins
			result, err := d.render(cmd.Context(), args, &flags)
			if err != nil {
				return err
			}
			if err := report.FindingsText(a.Err, result.Findings, report.Style{}); err != nil {
				return err
			}
			return a.printObjects(result.Objects, out, origins)
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&origins, "origins", false, "tell the file and line of every object")
	out.register(cmd, "yaml", "json", "name")
	return cmd
}

// render renders the path of the arguments, or the Application of the flags.
func (d *desk) render(ctx context.Context, args []string, flags *renderFlags) (*render.Output, error) {
	name := "."
	if len(args) > 0 {
		name = args[0]
	}
	c, err := d.open(ctx, name)
	if err != nil {
		return nil, err
	}
	w, err := flags.plain(c)
	if flags.application != "" {
		w, err = flags.named(ctx, d, c)
	}
	if err != nil {
		return nil, err
	}
	w.options.FieldOrigins = flags.options.FieldOrigins
	result, err := d.engine.Renderer.Render(ctx, c.Snapshot, w.options)
	if err != nil {
		return nil, source.Explain(ctx, c.Snapshot, err)
	}
	return result.Output, nil
}

// rendered is what render prints as JSON: a List, as kubectl reads it, with the
// places beside it.
type rendered struct {
	APIVersion string                    `json:"apiVersion"`
	Kind       string                    `json:"kind"`
	Items      []map[string]any          `json:"items"`
	Origins    map[string]mizzen.Origins `json:"origins,omitempty"`
}

func (a *app) printObjects(objects []mizzen.Object, out outputFlag, origins bool) error {
	switch out.format {
	case "json":
		list := rendered{APIVersion: "v1", Kind: "List", Items: []map[string]any{}}
		for _, o := range objects {
			list.Items = append(list.Items, o.Object)
			if origins {
				if list.Origins == nil {
					list.Origins = map[string]mizzen.Origins{}
				}
				list.Origins[o.Ref().String()] = o.Origins
			}
		}
		return report.JSON(a.Out, "render", list)
	case "name":
		return a.printNames(objects, origins)
	}
	for _, o := range objects {
		if err := a.printYAML(o, origins); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printNames(objects []mizzen.Object, origins bool) error {
	for _, o := range objects {
		line := o.Ref().String()
		if origins {
			line += "  " + o.Origins.Object.String()
		}
		if _, err := fmt.Fprintln(a.Out, report.Plain(line)); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printYAML(o mizzen.Object, origins bool) error {
	doc, err := json.Marshal(o.Object)
	if err != nil {
		return err
	}
	b, err := yaml.JSONToYAML(doc)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(a.Out, "---"); err != nil {
		return err
	}
	if origins {
		if err := a.printOrigin(o.Origins.Object); err != nil {
			return err
		}
	}
	_, err = a.Out.Write(b)
	return err
}

// printOrigin prints where an object was written, and which files shaped it
// besides, as comments.
func (a *app) printOrigin(at mizzen.Origin) error {
	for i, o := range append([]mizzen.Origin{at}, at.Via...) {
		text := "# from " + o.String()
		if i > 0 {
			text = "# with " + o.String()
		}
		if o.Key != "" {
			text += " (" + o.Key + ")"
		}
		if _, err := fmt.Fprintln(a.Out, report.Plain(text)); err != nil {
			return err
		}
	}
	return nil
}
