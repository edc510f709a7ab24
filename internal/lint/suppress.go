package lint

import (
	"fmt"
	"regexp"
	"strings"

	"mizzen.dev/mizzen"
)

// Suppress takes out the Findings that their objects ask to ignore, by the
// annotation mizzen.dev/lint-ignore: "CODE: reason; CODE: reason". It returns
// the others, in their order, and how many were taken out.
//
// Who silences a check owes the reader a reason: a code without one is not
// ignored, which Check says.
func Suppress(findings []mizzen.Finding, objects []mizzen.Object) (shown []mizzen.Finding, suppressed int) {
	ignored := map[mizzen.Ref]map[mizzen.Code]bool{}
	for _, o := range objects {
		if text, ok := o.GetAnnotations()[mizzen.AnnotationLintIgnore]; ok {
			ignored[o.Ref()], _ = ignoredBy(text)
		}
	}
	for _, f := range findings {
		if ignored[f.Ref][f.Code] && f.Code != mizzen.CodeInvalidLintIgnore {
			suppressed++
			continue
		}
		shown = append(shown, f)
	}
	return shown, suppressed
}

// checkIgnore judges the annotation that silences Findings.
func checkIgnore(o mizzen.Object) []mizzen.Finding {
	text, ok := o.GetAnnotations()[mizzen.AnnotationLintIgnore]
	if !ok {
		return nil
	}
	if _, problem := ignoredBy(text); problem != "" {
		return []mizzen.Finding{badIgnore(o, problem)}
	}
	return nil
}

// codeForm is how the code of a Finding looks: one of ours, or of Istio's.
var codeForm = regexp.MustCompile(`^(MZ|IST)[0-9]{4}$`)

// ignoredBy reads the annotation: the codes that have a reason, and what is
// wrong with the first one that has not, or "".
func ignoredBy(text string) (codes map[mizzen.Code]bool, problem string) {
	codes = map[mizzen.Code]bool{}
	say := func(s string) {
		if problem == "" {
			problem = s
		}
	}
	for i, part := range strings.Split(text, ";") {
		code, reason, _ := strings.Cut(part, ":")
		code, reason = strings.TrimSpace(code), strings.TrimSpace(reason)
		switch {
		case !codeForm.MatchString(code):
			// The reason before may hold a semicolon.
			if i == 0 {
				say(fmt.Sprintf("%q is not the code of a finding", code))
			}
		case reason == "":
			say(fmt.Sprintf("%s is ignored without a reason", code))
		default:
			codes[mizzen.Code(code)] = true
		}
	}
	return codes, problem
}

func badIgnore(o mizzen.Object, problem string) mizzen.Finding {
	at := mizzen.Path("metadata.annotations").Key(mizzen.AnnotationLintIgnore)
	// The reason is what is missing, or stands in a wrong form.
	origin := place(o, at.Key("reason"))
	return mizzen.Finding{
		Code: mizzen.CodeInvalidLintIgnore, Severity: mizzen.Warning, Ref: o.Ref(), Path: at, Origin: origin,
		Message: "the annotation " + mizzen.AnnotationLintIgnore + " has no effect: " + problem,
		Remedy:  `write "CODE: reason", several separated by semicolons, such as "MZ4101: the shares are meant to be thirds"`,
	}
}
