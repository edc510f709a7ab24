package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
)

// constant is a documented string constant of a source file.
type constant struct{ name, value, doc string }

// constants returns those of a file whose names begin with prefix, in order.
func constants(file, prefix string) ([]constant, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	var found []constant
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			return true
		}
		// "CodeAdopted: the object …" and "ConditionReady is True when …" are
		// about the value, under another name.
		doc := strings.TrimPrefix(paragraph(spec.Doc.Text()), spec.Names[0].Name)
		doc = strings.TrimPrefix(strings.TrimPrefix(doc, ":"), " is ")
		doc = strings.TrimSpace(doc)
		found = append(found, constant{spec.Names[0].Name, value, doc})
		return true
	})
	for _, c := range found {
		if c.doc == "" {
			return nil, fmt.Errorf("%s: %s has no comment", file, c.name)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has no constant that begins with %s", file, prefix)
	}
	return found, nil
}

// table writes constants as rows.
func table(b *strings.Builder, head string, list []constant) {
	fmt.Fprintf(b, "\n| %s | |\n|---|---|\n", head)
	for _, c := range list {
		fmt.Fprintf(b, "| `%s` | %s |\n", c.value, strings.ReplaceAll(capital(c.doc), "|", "\\|"))
	}
}

// reasons lists conditions and their reasons.
func reasons() (string, error) {
	conditions, err := constants("api/v1alpha1/conditions.go", "Condition")
	if err != nil {
		return "", err
	}
	list, err := constants("api/v1alpha1/conditions.go", "Reason")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("# Conditions and reasons\n\nEvery custom resource of Mizzen has conditions as Kubernetes tools know them (`kubectl wait`, kstatus).\n" +
		"Types and reasons are part of the API: programs may compare them. Messages are for people: they name the\ncause and what to do.\n")
	b.WriteString("\n## Conditions\n")
	table(&b, "type", conditions)
	b.WriteString("\n## Reasons\n")
	table(&b, "reason", list)
	return b.String(), nil
}
