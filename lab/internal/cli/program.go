package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen/lab/internal/program"
)

func newRun(o *options) *cobra.Command {
	var uses []string
	cmd := &cobra.Command{
		Use:   "run NAME COMMAND [ARG...]",
		Short: "Run a program beside the lab, in the background",
		Long: "Runs a program in the background until `lab end NAME` or `lab down`; its log is NAME.log.\n" +
			"One that runs already is kept, unless its file, its arguments or a file that it uses has changed:\n" +
			"then it is ended and started anew.",
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := o.locate()
			if err != nil {
				return err
			}
			err = program.Run(cmd.Context(), dir, args[0], args[1:], uses)
			if errors.Is(err, program.ErrShort) {
				return fmt.Errorf("%w\n%s", err, tail(dir.ProgramLog(args[0])))
			}
			return err
		},
	}
	cmd.Flags().StringArrayVar(&uses, "uses", nil, "a file whose change starts the program anew")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func newEnd(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "end NAME",
		Short: "End a program that `lab run` started",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := o.locate()
			if err != nil {
				return err
			}
			return program.End(dir, args[0])
		},
	}
}

func newProgram(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: program.Command, Hidden: true, Args: cobra.MinimumNArgs(3),
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := o.locate()
			if err != nil {
				return err
			}
			return program.Become(dir, args[0], args[1], args[2:])
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}
