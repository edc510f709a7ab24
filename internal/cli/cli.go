// Package cli is the command line: one file per verb, each a thin layer over
// the engine and the Kubernetes API. Results go to standard output, everything
// else to standard error, and the exit code says what the answer was.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen"
)

// The exit codes of every verb. An output format never changes them.
const (
	// ExitYes: the answer is yes: the same, healthy, done.
	ExitYes = 0
	// ExitNo: the answer is no: it differs, is unhealthy, has findings.
	ExitNo = 1
	// ExitUnknown: the question could not be answered.
	ExitUnknown = 2
	// ExitTimeout: there was no answer in time.
	ExitTimeout = 3
	// ExitInterrupted: the user ended it.
	ExitInterrupted = 130
)

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Terminal tells whether In and Err are one, so that a person can be asked.
	Terminal bool
	// Color tells whether Out may hold escape sequences.
	Color bool
}

// answer is an error that only carries an exit code: what there is to say has
// been said on standard output.
type answer int

func (a answer) Error() string { return fmt.Sprintf("exit %d", int(a)) }

// app is what the verbs share.
type app struct {
	Streams
	kube kubeFlags
}

// Main runs the command line and returns its exit code.
func Main(ctx context.Context, args []string, s Streams) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{Streams: s}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	cmd, err := root.ExecuteContextC(ctx)
	return a.exitCode(ctx, cmd, err)
}

func (a *app) exitCode(ctx context.Context, cmd *cobra.Command, err error) int {
	var said answer
	switch {
	case err == nil:
		return ExitYes
	case errors.As(err, &said):
		return int(said)
	}
	fmt.Fprintf(a.Err, "mizzen %s: %v\n", cmd.Name(), err)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ExitInterrupted
	case errors.Is(err, context.DeadlineExceeded), mizzen.KindOf(err) == mizzen.Timeout:
		return ExitTimeout
	}
	return ExitUnknown
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "mizzen",
		Short:         "GitOps for the service mesh",
		Long:          "Mizzen makes clusters match Git, and shows before the merge what a change does.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	a.kube.register(root.PersistentFlags())
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see 'mizzen %s --help'", err, cmd.Name())
	})
	root.AddCommand(a.planCommand(), a.syncCommand(), a.upCommand(), a.controllerCommand(), a.versionCommand())
	return root
}
