package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"

	"mizzen.dev/mizzen/internal/cli"
)

// listed is a verb as the help of its parent lists it.
var listed = regexp.MustCompile(`(?m)^  ([a-z][a-z-]*) {2,}`)

// commandLine is the help of every verb.
func commandLine() (string, error) {
	// Defaults below the user's cache directory are told as such.
	if err := os.Setenv("XDG_CACHE_HOME", "/home/you/.cache"); err != nil {
		return "", err
	}
	root, err := help()
	if err != nil {
		return "", err
	}
	_, verbs, _ := strings.Cut(root, "Available Commands:\n")
	verbs, flags, _ := strings.Cut(verbs, "\nFlags:\n")
	flags, _, _ = strings.Cut(flags, "\n\n")
	var b strings.Builder
	b.WriteString("# Command line\n\nExit codes of every verb: 0 yes, the same, healthy, done; 1 the answer is no; 2 it could not be answered;\n" +
		"3 timed out; 130 interrupted. An output format never changes them. Results go to standard output, everything\nelse to standard error.\n")
	fmt.Fprintf(&b, "\nFlags of every verb:\n\n```\n%s\n```\n", flags)
	for _, m := range listed.FindAllStringSubmatch(verbs, -1) {
		if m[1] == "help" {
			continue
		}
		text, err := help(m[1])
		if err != nil {
			return "", err
		}
		text, _, _ = strings.Cut(text, "\nGlobal Flags:")
		fmt.Fprintf(&b, "\n## mizzen %s\n\n```\n%s\n```\n", m[1], strings.TrimSpace(text))
	}
	return b.String(), nil
}

func help(verb ...string) (string, error) {
	var out bytes.Buffer
	s := cli.Streams{In: strings.NewReader(""), Out: &out, Err: &out}
	if code := cli.Main(context.Background(), append(verb, "--help"), s); code != cli.ExitYes {
		return "", fmt.Errorf("mizzen %s --help: exit code %d: %s", strings.Join(verb, " "), code, out.String())
	}
	return out.String(), nil
}
