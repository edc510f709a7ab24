package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"

	"mizzen.dev/mizzen/lab/internal/pki"
	"mizzen.dev/mizzen/lab/internal/ports"
)

// advertised is the address in the endpoints of the service "kubernetes".
// Nothing in the lab connects to it (TEST-NET-1, RFC 5737), and an
// EndpointSlice refuses the loopback address that is really used.
const advertised = "192.0.2.1"

func apiserverFlags(o Options) []string {
	file := func(name string) string { return filepath.Join(pkiDir, name) }
	flags := []string{
		"--etcd-servers=" + etcdURL,
		"--secure-port=" + strconv.Itoa(ports.Of(o.Listener)),
		"--service-cluster-ip-range=" + o.services().String(),
		"--tls-cert-file=" + file(pki.ServingCertFile), "--tls-private-key-file=" + file(pki.ServingKeyFile),
		"--client-ca-file=" + file(pki.AuthorityFile),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file=" + file(pki.ServiceAccountKeyFile),
		"--service-account-key-file=" + file(pki.ServiceAccountKeyFile),
		"--allow-privileged=true",
		// One user on one machine: the fixed limits of requests in flight do,
		// and figures do not depend on how flow control learns.
		"--enable-priority-and-fairness=false",
		"--audit-policy-file=" + auditPolicyFile, "--audit-log-path=" + AuditLogFile,
		"--audit-log-maxsize=2000", "--audit-log-maxbackup=1",
		"--profiling=false",
	}
	if o.Live != nil {
		return append(flags, liveFlags(o.Live)...)
	}
	return append(flags, "--bind-address=127.0.0.1", "--advertise-address="+advertised, "--authorization-mode=RBAC")
}

// runAPIServer serves the API until ctx ends. It avoids
// app.NewAPIServerCommand, which takes over the signals of the process.
func runAPIServer(ctx context.Context, wanted Options) error {
	o := options.NewServerRunOptions()
	sets := o.Flags()
	if err := parse("kube-apiserver", sets, apiserverFlags(wanted)); err != nil {
		return err
	}
	o.SecureServing.Listener = wanted.Listener
	if err := o.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return fmt.Errorf("feature gates: %w", err)
	}
	completed, err := o.Complete(ctx)
	if err != nil {
		return fmt.Errorf("complete options: %w", err)
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return fmt.Errorf("validate options: %w", utilerrors.NewAggregate(errs))
	}
	return app.Run(ctx, completed)
}

func parse(name string, sets cliflag.NamedFlagSets, args []string) error {
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		flags.AddFlagSet(set)
	}
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("flags of %s: %w", name, err)
	}
	return nil
}
