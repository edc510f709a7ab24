package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen/internal/live"
	"mizzen.dev/mizzen/internal/report"
)

func (a *app) doctorCommand() *cobra.Command {
	var (
		out     outputFlag
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what Mizzen needs, and say how to mend what is missing",
		Long: "Checks this machine (git, sandbox), access to the cluster, permissions, the CRDs, the controller, and every\n" +
			"Repository, Cluster and service account. The exit code is 1 if a check fails.",
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := bounded(cmd.Context(), timeout)
			defer cancel()
			d := &doctor{app: a}
			d.machine(ctx)
			d.cluster(ctx)
			if ctx.Err() != nil {
				return tooLate(ctx)
			}
			err := out.write(a.Out, "doctor", d.found, func() error { return report.ChecksText(a.Out, d.found, a.style()) })
			if err == nil && d.found.Failed() {
				err = answer(ExitNo)
			}
			return err
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "give up after this long (0: never)")
	out.register(cmd, "text", "json", "yaml")
	return cmd
}

// doctor gathers what was found.
type doctor struct {
	app   *app
	found report.Checks
}

func (d *doctor) ok(name, format string, args ...any) {
	d.found.Items = append(d.found.Items, report.Check{Name: name, Level: report.OK, Message: fmt.Sprintf(format, args...)})
}

func (d *doctor) warn(name, message, remedy string) {
	d.found.Items = append(d.found.Items, report.Check{Name: name, Level: report.Warn, Message: message, Remedy: remedy})
}

func (d *doctor) fail(name, message, remedy string) {
	d.found.Items = append(d.found.Items, report.Check{Name: name, Level: report.Fail, Message: message, Remedy: remedy})
}

// cluster checks the home cluster; what cannot be asked without the step
// before is not asked.
func (d *doctor) cluster(ctx context.Context) {
	c, ok := d.access(ctx)
	if !ok {
		return
	}
	d.permissions(ctx, c)
	if !d.crds(ctx, c) {
		return
	}
	d.controller(ctx, c)
	d.repositories(ctx, c)
	d.clusters(ctx, c)
	d.accounts(ctx, c)
}

// access checks the kubeconfig and the API server.
func (d *doctor) access(ctx context.Context) (client.Client, bool) {
	raw, err := d.app.kube.loader().RawConfig()
	if err != nil {
		d.fail("kubeconfig", err.Error(), "correct the file, or name another one with --kubeconfig")
		return nil, false
	}
	c, config, err := d.app.kube.client()
	if err != nil {
		d.fail("kubeconfig", err.Error(), "name a kubeconfig with --kubeconfig or $KUBECONFIG")
		return nil, false
	}
	name := raw.CurrentContext
	if d.app.kube.context != "" {
		name = d.app.kube.context
	}
	d.ok("kubeconfig", "context %s, %s", name, config.Host)
	cluster, err := live.New(config, live.Options{})
	if err != nil {
		d.fail("cluster", err.Error(), "correct the kubeconfig")
		return nil, false
	}
	version, _, err := cluster.Capabilities(ctx)
	if err != nil {
		d.fail("cluster", cause(explain(err, "", "")), "check that the cluster runs, and that the credentials are still good")
		return nil, false
	}
	d.ok("cluster", "Kubernetes %s", version)
	return c, true
}
