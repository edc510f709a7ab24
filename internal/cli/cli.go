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
	"k8s.io/utils/clock"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/report"
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

// Color tells whether output may be colored: on a terminal that can, unless
// NO_COLOR asks for none (https://no-color.org).
func Color(terminal bool, getenv func(string) string) bool {
	return terminal && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

// answer is an error that only carries an exit code: what there is to say has
// been said on standard output.
type answer int

func (a answer) Error() string { return fmt.Sprintf("exit %d", int(a)) }

// app is what the verbs share.
type app struct {
	Streams
	kube  kubeFlags
	clock clock.WithTicker
}

// Main runs the command line and returns its exit code.
func Main(ctx context.Context, args []string, s Streams) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks to end; a second one ends at once.
	defer context.AfterFunc(ctx, stop)()
	a := &app{Streams: s, clock: clock.RealClock{}}
	return a.run(ctx, args)
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	cmd, err := root.ExecuteContextC(ctx)
	return a.exitCode(ctx, cmd, err)
}

func (a *app) exitCode(ctx context.Context, cmd *cobra.Command, err error) int {
	var said answer
	switch {
	case err == nil:
		return ExitYes
	case errors.Is(ctx.Err(), context.Canceled):
		fmt.Fprintf(a.Err, "%s: interrupted\n", cmd.CommandPath())
		return ExitInterrupted
	case errors.As(err, &said):
		return int(said)
	}
	fmt.Fprintf(a.Err, "%s: %s\n", cmd.CommandPath(), report.Plain(err.Error()))
	if errors.Is(err, context.DeadlineExceeded) || mizzen.KindOf(err) == mizzen.Timeout {
		return ExitTimeout
	}
	return ExitUnknown
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "mizzen",
		Short:         "GitOps for the service mesh",
		Long:          "Mizzen makes clusters match Git, and shows before the merge what a change does.\n\n" + exitCodes,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknownVerb,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SuggestionsMinimumDistance = 2
	a.kube.register(root)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see '%s --help'", err, cmd.CommandPath())
	})
	root.AddCommand(
		a.upCommand(), a.controllerCommand(),
		a.planCommand(), a.syncCommand(), a.renderCommand(), a.lintCommand(), a.traceCommand(),
		a.statusCommand(), a.getCommand(), a.treeCommand(), a.historyCommand(), a.eventsCommand(),
		a.approveCommand(), a.rollbackCommand(), a.suspendCommand(), a.resumeCommand(),
		a.doctorCommand(), a.completionCommand(), a.versionCommand(),
	)
	return root
}

const exitCodes = `Exit codes of every verb, whatever the output format:
  0    the answer is yes: the same, healthy, done
  1    the answer is no: it differs, is unhealthy, has findings
  2    the question could not be answered
  3    there was no answer in time (--timeout, or a chart without an end)
  130  interrupted`

// unknownVerb refuses what is no verb, and says which one may have been meant.
func unknownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see 'mizzen --help'"
	if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
		hint = fmt.Sprintf("did you mean 'mizzen %s'?", like[0])
	}
	return fmt.Errorf("there is no verb %q; %s", args[0], hint)
}

// arguments admits between least and most arguments, and otherwise says how
// the verb is used.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return fmt.Errorf("something is missing: use '%s'", cmd.UseLine())
		case len(args) > most:
			return fmt.Errorf("%q is too much: use '%s'", args[most], cmd.UseLine())
		}
		return nil
	}
}

// style says how text on standard output may look.
func (a *app) style() report.Style { return report.Style{Color: a.Color} }
