// Package cli is the command line of the lab, one file per verb. Verbs change
// the Spec in the state directory and wait for the supervisor's Status;
// results go to stdout, everything else to stderr.
package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/state"
)

// The exit codes, as those of mizzen.
const (
	exitNo          = 1
	exitFailed      = 2
	exitTimeout     = 3
	exitInterrupted = 130
)

// errNo is the answer "no", already printed.
var errNo = errors.New("no")

// Run runs the lab's command line and returns its exit code: 0 done or yes, 1
// the answer is no, 2 failed, 3 timed out, 130 interrupted.
func Run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errNo):
		return exitNo
	case ctx.Err() != nil:
		return exitInterrupted
	}
	fmt.Fprintln(os.Stderr, "lab:", err)
	if errors.Is(err, context.DeadlineExceeded) {
		return exitTimeout
	}
	return exitFailed
}

// options are those of every verb.
type options struct {
	dir string
}

func (o *options) locate() (state.Dir, error) { return state.Locate(o.dir) }

func newRoot() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:   "lab",
		Short: "A real Kubernetes and a Git server as local processes",
		Long: "lab starts Kubernetes clusters (etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok nodes, and\n" +
			"with --live a node whose pods run) and a Git server as processes of this machine, without root.",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&o.dir, "dir", "", "state directory (default $"+state.Variable+", else .lab of the checkout)")
	root.AddCommand(newUp(o), newDown(o), newStatus(o), newLogs(o), newDoctor(o), newStop(o), newStart(o), newExpose(o),
		newGit(o), newDemo(o), newLoad(o), newRun(o), newEnd(o), newSupervise(o), newCluster(), newNode(), newProbe(), newProgram(o))
	return root
}
