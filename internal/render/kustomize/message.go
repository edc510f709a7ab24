package kustomize

import (
	"regexp"
	"strings"
)

// maxMessage bounds what is shown of an error of Kustomize.
const maxMessage = 1000

// quotes are what Kustomize repeats of files in its errors: patches,
// literals of generators, lines of env files and whole objects, which may all
// be the text of a Secret. The last ones stand at the end of a message.
var quotes = []struct {
	match *regexp.Regexp
	with  string
}{
	{regexp.MustCompile("(?s)(with config): `.*`(: )"), "$1 …$2"},
	{regexp.MustCompile(`(?s)\[patch: "(?:[^"\\]|\\.)*"\]`), "[patch: …]"},
	{regexp.MustCompile(`(?s)(literal sources )\[.*\](: )`), "$1[…]$2"},
	{regexp.MustCompile(`(?s)(invalid literal source) .*(, expected key=value)`), "$1 …$2"},
	{regexp.MustCompile(`(?s)line \[[0-9 ]*\] has invalid utf8 bytes.*`), "a line is not UTF-8"},
	{regexp.MustCompile(`(found [0-9]+ in) \[[0-9 ]*\]`), "$1 …"},
	{regexp.MustCompile(`(?s)(decoding) .*(: )`), "$1 …$2"},
	{regexp.MustCompile(`(?s)(out of bounds for value|must specify a target for patch|JsonOp=|in object|is not a string:|merge patch strategy for|patch strategy) .*`), "$1 …"},
	// Objects are quoted on lines of their own.
	{regexp.MustCompile(`(?s)\n.*`), " …"},
}

// withoutQuotes returns a message of Kustomize that repeats nothing of what
// the files say.
func withoutQuotes(message string) string {
	message = strings.ReplaceAll(strings.TrimSpace(message), mount+"/", "")
	for _, q := range quotes {
		message = q.match.ReplaceAllString(message, q.with)
	}
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	return message
}
