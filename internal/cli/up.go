package cli

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/controller"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/traffic/worker"
)

// controllerFlags are shared by up and controller, which differ in what they
// take for granted about where they run.
type controllerFlags struct {
	installation, stateDir, listen, logFormat, gate string
	verbose, unsandboxed, files, profile            bool
	mirror                                          resource.QuantityValue
	rendering                                       time.Duration
}

func (f *controllerFlags) register(cmd *cobra.Command, listen, stateDir string) {
	flags := cmd.Flags()
	flags.StringVar(&f.installation, "installation", mizzen.DefaultInstallation, "id of this installation, if a cluster has several")
	flags.StringVar(&f.stateDir, "state-dir", stateDir, "directory for Git mirrors and rendered output; it may be lost")
	flags.StringVar(&f.listen, "listen", listen, "address for webhooks (/webhook), /metrics, /healthz and /readyz")
	flags.StringVar(&f.logFormat, "log-format", "", "text or json (default: text on a terminal)")
	flags.StringVar(&f.gate, "default-gate", string(v1alpha1.GateNone), "the gate of applications that set none in spec.sync.gate: None, Report or Policy")
	complete(cmd, "default-gate", gates)
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log more")
	flags.DurationVar(&f.rendering, "render-timeout", render.DefaultTimeout, "how long one rendering may take")
	flags.BoolVar(&f.unsandboxed, "allow-unsandboxed-render", false, "render although this system cannot confine charts")
	f.mirror.Quantity = resource.MustParse("10Gi")
	flags.Var(&f.mirror, "max-mirror-size", "size on disk at which the fetch of a repository is stopped; 0 is none")
	flags.BoolVar(&f.profile, "pprof", false, "serve Go's profiles at /debug/pprof")
	flags.BoolVar(&f.files, "allow-file-repositories", false, "permit file:// repositories, which read this machine's files")
}

// gates are the values of --default-gate.
var gates = []string{string(v1alpha1.GateNone), string(v1alpha1.GateReport), string(v1alpha1.GatePolicy)}

func (a *app) upCommand() *cobra.Command {
	var f controllerFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run Mizzen here, against the cluster of the kubeconfig",
		Long: "Installs Mizzen's CRDs and runs its controller and webhook endpoint in the foreground.\n" +
			"The cluster gets the CRDs, the namespace mizzen-system with a Secret and a Lease, and, where it can, admission\n" +
			"policies for Applications and Approvals; no pod. Ending it leaves these: docs/own-cluster.md says how to remove them.",
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.control(cmd, f, true) },
	}
	f.register(cmd, "127.0.0.1:8474", defaultStateDir())
	return cmd
}

func (a *app) controllerCommand() *cobra.Command {
	var f controllerFlags
	var install bool
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Run the controller in a cluster",
		Args:  arguments(0, 0),
		RunE:  func(cmd *cobra.Command, _ []string) error { return a.control(cmd, f, install) },
	}
	f.register(cmd, ":8474", "/var/lib/mizzen")
	cmd.Flags().BoolVar(&install, "install-crds", false, "apply Mizzen's CRDs first")
	return cmd
}

// idleTraffic is how long the controller keeps a traffic worker that has nothing
// to do, so that reviews one after the other find it warm.
const idleTraffic = 5 * time.Minute

func (a *app) control(cmd *cobra.Command, f controllerFlags, install bool) error {
	if err := oneOf("--default-gate", f.gate, gates); err != nil {
		return err
	}
	if f.rendering <= 0 {
		return &mizzen.Error{
			Kind: mizzen.Invalid, Object: "--render-timeout " + f.rendering.String(), Err: errors.New("no rendering could end in that time"),
			Remedy: "use a duration above zero, such as 90s",
		}
	}
	config, err := a.kube.config()
	if err != nil {
		return err
	}
	trafficWorker := func() *worker.Client {
		return &worker.Client{AllowUnsandboxed: f.unsandboxed, Idle: idleTraffic}
	}
	err = controller.Run(cmd.Context(), controller.Options{
		Config: config, Installation: f.installation, StateDir: f.stateDir, Listen: f.listen, Install: install,
		DefaultGate:   v1alpha1.Gate(f.gate),
		Traffic:       &worker.Planner{Client: trafficWorker(), Beside: trafficWorker()},
		RenderTimeout: f.rendering, AllowUnsandboxedRender: f.unsandboxed, AllowFileRepositories: f.files, MaxMirrorBytes: f.mirror.Value(), Profile: f.profile, Log: a.logger(f), Version: version(),
	})
	return explain(err, "cluster "+config.Host, "")
}

func (a *app) logger(f controllerFlags) *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelInfo}
	if f.verbose {
		o.Level = slog.LevelDebug
	}
	if f.logFormat == "json" || f.logFormat == "" && !a.Terminal {
		return slog.New(slog.NewJSONHandler(a.Err, o))
	}
	return slog.New(slog.NewTextHandler(a.Err, o))
}

// defaultStateDir is below the user's cache directory, since all of it can be
// made anew.
func defaultStateDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "mizzen")
}
