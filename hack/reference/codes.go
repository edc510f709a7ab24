package main

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// explanation is what a reader of a code wants beyond what it means.
type explanation struct {
	Why     string `json:"why"`
	Example string `json:"example"`
	Do      string `json:"do"`
}

//go:embed codes.yaml
var codesYAML []byte

// explained returns the explanations whose codes begin with prefix.
func explained(prefix string) (map[string]explanation, error) {
	var all map[string]explanation
	if err := yaml.UnmarshalStrict(codesYAML, &all); err != nil {
		return nil, fmt.Errorf("codes.yaml: %w", err)
	}
	for code, e := range all {
		if e.Why == "" || e.Example == "" || e.Do == "" {
			return nil, fmt.Errorf("codes.yaml: %s needs why, example and do", code)
		}
	}
	maps.DeleteFunc(all, func(code string, _ explanation) bool { return !strings.HasPrefix(code, prefix) })
	return all, nil
}

// group is a range of codes under one title.
type group struct {
	prefix, title string
}

// groups writes codes by group: a table, then each with its explanation. A code
// without one is an error.
func groups(b *strings.Builder, list []constant, all map[string]explanation, groups []group) error {
	all = maps.Clone(all)
	for _, g := range groups {
		var members, others []constant
		for _, c := range list {
			if strings.HasPrefix(c.value, g.prefix) {
				members = append(members, c)
			} else {
				others = append(others, c)
			}
		}
		list = others
		fmt.Fprintf(b, "\n## %s\n", g.title)
		table(b, "code", members)
		for _, c := range members {
			e, ok := all[c.value]
			if !ok {
				return fmt.Errorf("codes.yaml does not explain %s", c.value)
			}
			delete(all, c.value)
			section(b, c, e)
		}
	}
	if len(list) > 0 {
		return fmt.Errorf("code %s belongs to no group", list[0].value)
	}
	if len(all) > 0 {
		return fmt.Errorf("codes.yaml explains %s, which is no code", slices.Sorted(maps.Keys(all))[0])
	}
	return nil
}

func section(b *strings.Builder, c constant, e explanation) {
	fmt.Fprintf(b, "\n### %s\n\n%s\n\n**Why it matters.** %s\n\n```%s\n%s\n```\n\n**What to do.** %s\n",
		c.value, capital(c.doc), paragraph(e.Why), languageOf(c, e.Example), strings.TrimRight(e.Example, "\n"), paragraph(e.Do))
}

// languageOf is "diff" for what shows a change, as examples of Effects mostly do.
func languageOf(c constant, example string) string {
	if !strings.HasPrefix(c.value, "MT") {
		return "yaml"
	}
	for line := range strings.Lines(example) {
		if strings.HasPrefix(line, "+") || strings.HasPrefix(line, "-") && !strings.HasPrefix(line, "---") {
			return "diff"
		}
	}
	return "yaml"
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// findings lists the codes of Findings by thousands.
func findings() (string, error) {
	list, err := constants("code.go", "Code")
	if err != nil {
		return "", err
	}
	all, err := explained("MZ")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("# Findings\n\nA Finding is a message about an object, with a severity, a code, a place and a remedy. A *fatal* one stops\n" +
		"a sync before its first write; errors and warnings do not. A code never changes its meaning.\n\n" +
		"Codes that begin with `IST` are those of Istio's own analyzers: https://istio.io/latest/docs/reference/config/analysis/.\n" +
		"`IST0106`, which istiod's webhook refuses, is fatal; what Istio calls an error otherwise is a warning.\n\n" +
		"An object silences Findings about it by an annotation, with a reason; they are counted, not shown:\n\n" +
		"```yaml\nmetadata:\n  annotations:\n    mizzen.dev/lint-ignore: \"MZ4101: the shares are meant to be thirds; IST0118: renamed with the next release\"\n```\n")
	err = groups(&b, list, all, []group{
		{"MZ1", "Source and rendering"},
		{"MZ2", "Form and schemas of objects"},
		{"MZ3", "Ownership and applying"},
		{"MZ4", "Traffic and security of a mesh"},
	})
	return b.String(), err
}

// effects lists the codes of Effects by thousands.
func effects() (string, error) {
	list, err := constants("effectcode.go", "Effect")
	if err != nil {
		return "", err
	}
	all, err := explained("MT")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("# Effects\n\nAn Effect is what a change does to requests, security or exposure, as opposed to what it does to an object. It\n" +
		"has a code, an impact (`info`, `notice`, `warning`, `danger`), a subject, what was before and what comes after, the\n" +
		"callers that are affected, the line that causes it and, where one request shows it, that request as a witness. A\n" +
		"code never changes its meaning.\n")
	err = groups(&b, list, all, []group{
		{"MT1", "Where requests go"},
		{"MT2", "How requests are treated on the way"},
		{"MT3", "Security"},
		{"MT4", "Exposure"},
		{"MT5", "Observation"},
		{"MT6", "What the model cannot tell"},
	})
	return b.String(), err
}
