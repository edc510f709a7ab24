package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
)

// outputFlag is -o of one verb.
type outputFlag struct {
	format  string
	allowed []string
}

// register adds -o with the formats that the verb has; the first is the default.
func (o *outputFlag) register(cmd *cobra.Command, formats ...string) {
	o.allowed = formats
	cmd.Flags().StringVarP(&o.format, "output", "o", formats[0], "output format: "+strings.Join(formats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	previous := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(formats, o.format) {
			return &mizzen.Error{
				Kind: mizzen.Invalid, Object: "--output " + o.format,
				Err:    fmt.Errorf("%s has no such format", cmd.Name()),
				Remedy: "use one of " + strings.Join(formats, ", "),
			}
		}
		if previous != nil {
			return previous(cmd, args)
		}
		return nil
	}
}

// document is the envelope of everything that is written as JSON or YAML: the
// schema names the form, so that programs can tell when it changes.
type document struct {
	Schema string `json:"schema"`
	Data   any    `json:"data"`
}

// write prints data as JSON or YAML, or calls text for every other format.
func (o *outputFlag) write(w io.Writer, name string, data any, text func()) error {
	doc := document{Schema: "mizzen.dev/" + name + "/v1", Data: data}
	switch o.format {
	case "json":
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(doc)
	case "yaml":
		b, err := yaml.Marshal(doc)
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	}
	text()
	return nil
}
