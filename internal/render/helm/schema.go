package helm

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"

	"mizzen.dev/mizzen"
)

// schemaName is how messages of the validator name the schema.
const schemaName = "file:///values.schema.json"

// validate checks values by the schemas of the chart and its dependencies, as
// Helm does, except that a schema is never fetched.
func (r *rendering) validate(c *chart.Chart, scope map[string]any) error {
	if c.Schema != nil {
		if err := validateBy(c, scope); err != nil {
			return err
		}
	}
	for _, d := range c.Dependencies() {
		below, set := scope[d.Name()]
		if !set || below == nil {
			continue
		}
		var table map[string]any
		switch t := below.(type) {
		case map[string]any:
			table = t
		case common.Values:
			table = t
		default:
			return r.chartError(fmt.Errorf("the values of %s are not a mapping", d.Name()), "correct the values")
		}
		if err := r.validate(d, table); err != nil {
			return err
		}
	}
	return nil
}

// remoteSchema is the error for a $ref to anywhere but the schema itself.
type remoteSchema struct{ address string }

func (e remoteSchema) Error() string {
	return "its $ref to " + e.address + " would be fetched, and a rendering has no network"
}

// offline loads nothing.
type offline struct{}

// Load refuses. An unresolved URN is a schema that allows everything, as in
// Helm.
func (offline) Load(address string) (any, error) {
	if strings.HasPrefix(address, "urn:") {
		return true, nil
	}
	return nil, remoteSchema{address}
}

func validateBy(c *chart.Chart, scope map[string]any) error {
	object := "values.schema.json of chart " + c.Name()
	schema, err := jsonschema.UnmarshalJSON(bytes.NewReader(c.Schema))
	if err != nil {
		return schemaError(mizzen.Invalid, object, err, "correct the schema")
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(offline{})
	if err := compiler.AddResource(schemaName, schema); err != nil {
		return schemaError(mizzen.Invalid, object, err, "correct the schema")
	}
	compiled, err := compiler.Compile(schemaName)
	var notLoaded *jsonschema.LoadURLError
	if errors.As(err, &notLoaded) {
		return schemaError(mizzen.Refused, object, notLoaded.Err, "copy the schema that it refers to into its $defs")
	}
	if err != nil {
		return schemaError(mizzen.Invalid, object, err, "correct the schema")
	}
	var violated *jsonschema.ValidationError
	if err := compiled.Validate(scope); errors.As(err, &violated) {
		return schemaError(mizzen.Invalid, "values of chart "+c.Name(), errors.New(strings.Join(violations(violated), "; ")), "correct the values")
	} else if err != nil {
		return schemaError(mizzen.Invalid, object, err, "correct the schema")
	}
	return nil
}

// violations says what is wrong with the values, without quoting them: a
// value may be a password.
func violations(e *jsonschema.ValidationError) []string {
	var all []string
	for _, cause := range e.Causes {
		all = append(all, violations(cause)...)
	}
	if len(e.Causes) > 0 {
		return all
	}
	var said string
	switch k := e.ErrorKind.(type) {
	case *kind.Pattern:
		said = "does not match the pattern " + k.Want
	case *kind.Format:
		said = "is not a valid " + k.Want
	default:
		said = k.LocalizedString(message.NewPrinter(language.English))
	}
	return []string{"at '/" + strings.Join(e.InstanceLocation, "/") + "': " + said}
}

func schemaError(k mizzen.Kind, object string, err error, remedy string) error {
	return &mizzen.Error{Kind: k, Object: object, Err: err, Remedy: remedy}
}
