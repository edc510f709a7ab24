package cli

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/report"
	"mizzen.dev/mizzen/internal/traffic/trace"
)

// traceFlags are the request, as far as it is no argument.
type traceFlags struct {
	meshFlags
	question trace.Question
	headers  []string
	claims   string
}

func (a *app) traceCommand() *cobra.Command {
	var (
		out   outputFlag
		flags traceFlags
	)
	cmd := &cobra.Command{
		Use:   "trace [METHOD] URL [PATH]",
		Short: "Follow a request through the mesh, hop by hop, without a cluster",
		Long: "Renders the Applications of a clone, compiles them with istiod's own code, and says what becomes of a request:\n" +
			"which rules take it, and which file and line wrote them; the workloads and their shares; timeouts, retries,\n" +
			"faults and rewrites; whether mTLS is used; which policies let it pass; and why rules before did not match.\n\n" +
			"The exit code is 0 if the request is served, 1 if it or a part of such requests fails, 2 if that cannot be told.",
		Example: "  mizzen trace --from shop/web GET http://reviews/wpcatalog -H 'end-user: jason'\n" +
			"  mizzen trace GET https://shop.example/path\n" +
			"  mizzen trace --from shop/web tcp://mysql:3306 --revision origin/main",
		Args: arguments(1, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			paths, err := flags.read(args)
			if err != nil {
				return err
			}
			d, err := a.desk()
			if err != nil {
				return err
			}
			defer d.close()
			found, err := d.trace(cmd.Context(), paths, &flags)
			if err != nil {
				return err
			}
			if err := a.printTrace(found, out); err != nil {
				return err
			}
			return traceAnswer(found.Fate)
		},
	}
	flags.register(cmd)
	out.register(cmd, "text", "json", "yaml", "markdown")
	return cmd
}

func (f *traceFlags) register(cmd *cobra.Command) {
	f.meshFlags.register(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.question.From, "from", trace.Outside, "the caller: a workload as namespace/name, outside, or the address of a client outside")
	flags.StringVar(&f.question.Gateway, "gateway", "", "the gateway that takes a request from outside, as namespace/name")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "a header of the request, as 'name: value'")
	flags.StringVar(&f.claims, "claims", "", "claims of a valid token that comes with the request, as JSON")
}

// read takes the arguments apart: a method, the URL, and a path.
func (f *traceFlags) read(args []string) (paths []string, err error) {
	if !strings.Contains(args[0], "://") {
		f.question.Method, args = args[0], args[1:]
	}
	if len(args) == 0 || !strings.Contains(args[0], "://") {
		return nil, &mizzen.Error{
			Kind: mizzen.Invalid, Object: "the request", Err: errors.New("there is no URL"),
			Remedy: "use 'mizzen trace [METHOD] URL [PATH]', with a URL such as http://reviews/path",
		}
	}
	f.question.URL = args[0]
	for _, h := range f.headers {
		name, value, found := strings.Cut(h, ":")
		if name = strings.TrimSpace(name); !found || name == "" {
			return nil, &mizzen.Error{Kind: mizzen.Invalid, Object: "--header " + h, Err: errors.New("it is no header"), Remedy: "write it as 'name: value'"}
		}
		f.question.Headers = append(f.question.Headers, mizzen.TraceHeader{Name: name, Value: strings.TrimSpace(value)})
	}
	if f.claims != "" {
		if err := json.Unmarshal([]byte(f.claims), &f.question.Claims); err != nil {
			return nil, &mizzen.Error{Kind: mizzen.Invalid, Object: "--claims", Err: err, Remedy: `write an object of JSON, as in {"iss":"me","group":"admin"}`}
		}
	}
	return args[1:], nil
}

// trace renders and asks the traffic worker.
func (d *desk) trace(ctx context.Context, paths []string, f *traceFlags) (*mizzen.Trace, error) {
	settings, err := f.context.settings()
	if err != nil {
		return nil, err
	}
	mesh, err := d.mesh(ctx, paths, &f.meshFlags)
	if err != nil {
		return nil, err
	}
	compiled, err := d.traffic.Client.Mesh(mesh.Objects, settings)
	if err != nil {
		return nil, err
	}
	return compiled.Trace(ctx, f.question)
}

func (a *app) printTrace(t *mizzen.Trace, out outputFlag) error {
	if out.format == "markdown" {
		return report.TraceMarkdown(a.Out, t)
	}
	return out.write(a.Out, "trace", t, func() error { return report.TraceText(a.Out, t, a.style()) })
}

func traceAnswer(fate mizzen.TraceFate) error {
	switch fate {
	case mizzen.FateServed:
		return nil
	case mizzen.FateUnknown:
		return answer(ExitUnknown)
	}
	return answer(ExitNo)
}
