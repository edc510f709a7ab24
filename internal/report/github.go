package report

import (
	"fmt"
	"io"
	"net/url"
	"strings"

	"mizzen.dev/mizzen"
)

// GitHub writes Findings as workflow commands, which GitHub shows as
// annotations of the lines they are about. The form and what must be escaped:
// https://docs.github.com/actions/reference/workflow-commands-for-github-actions
func GitHub(out io.Writer, findings []mizzen.Finding) error {
	for _, f := range findings {
		command := map[mizzen.Severity]string{mizzen.Fatal: "error", mizzen.Warning: "warning"}[f.Severity]
		if command == "" {
			command = "notice"
		}
		var properties []string
		if f.Origin.File != "" {
			properties = append(properties, "file="+property(f.Origin.File))
			if f.Origin.Line > 0 {
				properties = append(properties, fmt.Sprintf("line=%d", f.Origin.Line))
			}
		}
		properties = append(properties, "title="+property(string(f.Code)+" "+f.Ref.String()))
		if _, err := fmt.Fprintf(out, "::%s %s::%s\n", command, strings.Join(properties, ","), message(sentence(f))); err != nil {
			return err
		}
	}
	return nil
}

// message escapes what would end a workflow command, so that a repository
// cannot give commands of its own.
func message(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(printable(s))
}

func property(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(message(strings.TrimSpace(s)))
}

// printable is plain, but keeps lines.
func printable(s string) string {
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		lines[i] = plain(line)
	}
	return strings.Join(lines, "\n")
}

// sentence is what a Finding says, with the remedy.
func sentence(f mizzen.Finding) string {
	switch {
	case f.Remedy == "":
		return f.Message
	case strings.HasSuffix(f.Message, "?") || strings.HasSuffix(f.Message, "."):
		return f.Message + " To mend it: " + f.Remedy
	}
	return f.Message + ". To mend it: " + f.Remedy
}

// fileURI is a path as a relative reference of a URI; a colon in it begins no
// scheme.
func fileURI(path string) string { return (&url.URL{Path: path}).String() }
