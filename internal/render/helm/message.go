package helm

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// quoted matches the text of a template that tpl was given, and a value that
// is no table, which may hold a secret.
var quoted = regexp.MustCompile(`(?s)(cannot parse template|tpl function execution for|type mismatch on [^:]*:) ("(?:[^"\\]|\\.)*"|%!t\(.*\))`)

const maxMessage = 1000

// oneLine joins the lines of a message and bounds it. Where it starts and the
// cause, at its end, are kept.
func oneLine(message string) string {
	message = strings.Join(strings.Fields(quoted.ReplaceAllString(message, "$1 …")), " ")
	if len(message) > maxMessage {
		half := maxMessage / 2
		message = strings.ToValidUTF8(message[:half], "") + " … " + strings.ToValidUTF8(message[len(message)-half:], "")
	}
	return message
}

// secretKey matches the names that charts give to values that are secret.
var secretKey = regexp.MustCompile(`(?i)(passw(or)?d|passphrase|token|credentials?|secret|(secret|private|api|access|encryption|tls)[-_]?key)$`)

// minSecret is how long a value must be to be hidden: what is shorter is in
// half of all words.
const minSecret = 4

// hideSecrets takes secret values out of a message: fail and required say what
// a chart likes, and functions repeat what they cannot read.
func hideSecrets(message string, values any) string {
	for _, secret := range secretValues(values, false) {
		message = strings.ReplaceAll(message, secret, "***")
	}
	return message
}

// secretValues returns the texts below secret keys as they are and as Go
// quotes them, the longest first.
func secretValues(v any, secret bool) []string {
	var found []string
	if table, ok := asTable(v); ok {
		for key, value := range table {
			// existingSecret names a Secret, as people need to know.
			is := secret || secretKey.MatchString(key) && !strings.HasPrefix(strings.ToLower(key), "existing")
			found = append(found, secretValues(value, is)...)
		}
	}
	if list, ok := v.([]any); ok {
		for _, value := range list {
			found = append(found, secretValues(value, secret)...)
		}
	}
	if text, ok := v.(string); ok && secret && len(text) >= minSecret {
		found = append(found, text, strings.Trim(strconv.Quote(text), `"`))
	}
	slices.SortFunc(found, func(a, b string) int { return len(b) - len(a) })
	return found
}
