package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/report"
)

// outputFlag is -o of one verb.
type outputFlag struct {
	format string
}

// register adds -o with the formats that the verb has; the first is the default.
func (o *outputFlag) register(cmd *cobra.Command, formats ...string) {
	cmd.Flags().StringVarP(&o.format, "output", "o", formats[0], "output format: "+strings.Join(formats, ", "))
	complete(cmd, "output", formats)
	previous := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOf("--output", o.format, formats); err != nil {
			return err
		}
		if previous != nil {
			return previous(cmd, args)
		}
		return nil
	}
}

// complete makes the values of a flag known to the shell.
func complete(cmd *cobra.Command, flag string, values []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// oneOf refuses a flag's value that is not among those it may have.
func oneOf(flag, value string, values []string) error {
	if slices.Contains(values, value) {
		return nil
	}
	return &mizzen.Error{
		Kind: mizzen.Invalid, Object: flag + " " + value, Err: fmt.Errorf("there is no %q", value),
		Remedy: "use one of " + strings.Join(values, ", "),
	}
}

// write prints v as a document of the noun's schema, or calls text for every
// format but JSON and YAML.
func (o *outputFlag) write(w io.Writer, noun string, v any, text func() error) error {
	switch o.format {
	case "json":
		return report.JSON(w, noun, v)
	case "yaml":
		return report.YAML(w, noun, v)
	}
	return text()
}

// stream prints v as one of many documents that follow each other.
func (o *outputFlag) stream(w io.Writer, noun string, v any, text func() error) error {
	switch o.format {
	case "json":
		return report.JSONLine(w, noun, v)
	case "yaml":
		if _, err := io.WriteString(w, "---\n"); err != nil {
			return err
		}
		return report.YAML(w, noun, v)
	}
	return text()
}
