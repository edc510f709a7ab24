package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
)

// maxShown is how many changes of one Application text shows; JSON has all.
const maxShown = 100

var impactColors = map[mizzen.Impact]string{
	mizzen.ImpactDanger: red, mizzen.ImpactWarning: yellow, mizzen.ImpactNotice: bold, mizzen.ImpactInfo: faint,
}

// ReviewText writes a Review for a terminal: what happens to traffic, the worst
// first, then the verdict if there is something to say, then what is wrong, then
// the objects of each Application.
func ReviewText(out io.Writer, r *mizzen.Review, s Style) error {
	w := &printer{w: out}
	w.printf("%s\n", s.paint(bold, reviewTitle(r)))
	if r.Live != nil {
		w.printf("%s\n", s.paint(faint, completedBy(r.Live)))
	}
	for i, e := range r.Effects {
		if i == 0 {
			w.printf("\n")
		}
		writeEffect(w, e, s)
	}
	if r.Verdict != nil && len(r.Verdict.Reasons) > 0 {
		w.printf("\n")
		w.verdict(r.Verdict, s)
	}
	if found := r.AllFindings(); len(found) > 0 {
		w.printf("\n")
		writeFindings(w, found, s)
	}
	for i := range r.Items {
		writeItem(w, &r.Items[i], s)
	}
	for i, f := range r.Omitted {
		if i == 0 {
			w.printf("\n%s\n", s.paint(faint, "not covered:"))
		}
		w.printf("%s\n", s.paint(faint, "  "+omittedLine(f)))
	}
	w.printf("\n%s\n", reviewSummary(r))
	w.printf("%s\n", s.paint(faint, "digest "+r.Digest))
	return w.err
}

// reviewTitle is "working tree since 01234567".
func reviewTitle(r *mizzen.Review) string {
	return r.Head.Short() + " since " + r.Base.Short()
}

// completedBy says how many objects are not of Git.
func completedBy(l *mizzen.ReviewLive) string {
	text := fmt.Sprintf("both sides are completed by %s of %s that Git does not hold", count(l.Objects, "object"), l.Server)
	if l.Cluster != "" {
		text += ", which is " + l.Cluster
	}
	return text
}

// reviewSummary is all that changes on one line.
func reviewSummary(r *mizzen.Review) string {
	parts := []string{}
	if text := tallyImpacts(r.Effects); text != "" {
		parts = append(parts, text)
	}
	if n := len(r.AllFindings()); n > 0 {
		parts = append(parts, count(n, "finding"))
	}
	broken, mended, changed := tallyItems(r.Items)
	add := func(n int, format string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf(format, count(n, "application")))
		}
	}
	add(broken, "%s cannot be rendered")
	add(mended, "%s could not be rendered before")
	add(r.Unseen(), "what %s does is not known")
	c := r.Counts()
	c.Unchanged = 0
	switch {
	case c != (mizzen.Counts{}):
		parts = append(parts, fmt.Sprintf("%s in %s", c, count(changed, "application")))
	case len(parts) == 0:
		parts = append(parts, "nothing changes")
	}
	if r.Verdict != nil && r.Changed() {
		parts = append(parts, decisionWords[r.Verdict.Decision])
	}
	return strings.Join(parts, "; ") + fmt.Sprintf(" (%s unchanged)", count(r.Unchanged, "application"))
}

// tallyItems counts the Applications that cannot be rendered any more, those that
// could not be before, and those of which objects change.
func tallyItems(items []mizzen.ReviewItem) (broken, mended, changed int) {
	for i := range items {
		switch item := &items[i]; {
		case item.Broken():
			broken++
		case item.Failed != item.FailedBefore:
			mended++
		}
		if len(items[i].Changes) > 0 {
			changed++
		}
	}
	return broken, mended, changed
}

// tallyImpacts is "2 effects: 1 danger, 1 notice".
func tallyImpacts(effects []mizzen.Effect) string {
	if len(effects) == 0 {
		return ""
	}
	n := map[mizzen.Impact]int{}
	for _, e := range effects {
		n[e.Impact]++
	}
	var parts []string
	for _, impact := range slices.Backward(mizzen.Impacts) {
		if n[impact] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[impact], impact))
		}
	}
	return count(len(effects), "effect") + ": " + strings.Join(parts, ", ")
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func writeEffect(w *printer, e mizzen.Effect, s Style) {
	w.printf("%s %s %s: %s", s.paint(impactColors[e.Impact], string(e.Impact)), e.Code, e.Subject, e.Message)
	if at := e.Origin.String(); at != "" {
		w.printf("  %s", s.paint(faint, at))
	}
	w.printf("\n")
	if e.Before != "" || e.After != "" {
		w.printf("    %s -> %s\n", s.paint(red, orNothing(e.Before)), s.paint(green, orNothing(e.After)))
	}
	if e.Cluster != "" {
		w.printf("    cluster %s\n", e.Cluster)
	}
	if len(e.Callers) > 0 {
		w.printf("    callers: %s\n", callers(e.Callers))
	}
	if len(e.Owners) > 0 {
		w.printf("    owners: %s\n", strings.Join(e.Owners, ", "))
	}
	if e.Witness != nil {
		w.printf("    for example %s\n", witness(e.Witness))
		w.printf("        %s -> %s\n", e.Witness.Before, e.Witness.After)
	}
}

func orNothing(s string) string {
	if s == "" {
		return "(nothing)"
	}
	return s
}

// callers names the first ones; "*" is every workload.
func callers(list []string) string {
	const most = 8
	if slices.Equal(list, []string{"*"}) {
		return "every workload"
	}
	text := strings.Join(list[:min(most, len(list))], ", ")
	if more := len(list) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// witness is a request as `mizzen trace` takes it: who calls, from where if that
// decides, and the claims of the token in the place of the token.
func witness(w *mizzen.Witness) string {
	from := w.From
	switch {
	case w.Address != "" && from == "outside":
		from = w.Address
	case w.Address != "":
		from += " at " + w.Address
	}
	text := fmt.Sprintf("%s: %s %s", from, w.Method, w.URL)
	for _, name := range slices.Sorted(maps.Keys(w.Headers)) {
		if len(w.Claims) == 0 || name != "Authorization" {
			text += fmt.Sprintf(" -H '%s: %s'", name, w.Headers[name])
		}
	}
	if claims, err := json.Marshal(w.Claims); err == nil && len(w.Claims) > 0 {
		text += fmt.Sprintf(" --claims '%s'", claims)
	}
	return text
}

// itemTitle is an Application with where it goes and what becomes of it.
func itemTitle(i *mizzen.ReviewItem) string {
	text := i.Application
	if i.Path != i.Application {
		text += " (" + i.Path + ")"
	}
	if i.Cluster != "" {
		text += " in " + i.Cluster
	}
	return text
}

// itemFate says in words what happens to an Application as a whole.
func itemFate(i *mizzen.ReviewItem) string {
	switch {
	case i.Failed != "" && !i.Broken():
		return "cannot be rendered, as before"
	case i.Failed != "":
		return "cannot be rendered"
	case i.FailedBefore != "" && i.Action == mizzen.Delete:
		return "application removed; it could not be rendered, so that what goes is not known"
	case i.FailedBefore != "":
		return "can be rendered again, so that there is nothing to compare with"
	}
	text := i.Counts().String()
	if i.Counts() == (mizzen.Counts{}) {
		text = "no objects"
	}
	switch i.Action {
	case mizzen.Create:
		return "new application, " + text
	case mizzen.Delete:
		return "application removed, " + text
	}
	return text
}

func writeItem(w *printer, i *mizzen.ReviewItem, s Style) {
	w.printf("\n%s: %s\n", s.paint(bold, itemTitle(i)), itemFate(i))
	if i.Failed != "" {
		w.printf("  %s %s\n", s.paint(red, "!"), i.Failed)
	}
	for _, c := range i.Changes[:min(maxShown, len(i.Changes))] {
		writeChange(w, c, s)
	}
	if more := len(i.Changes) - maxShown; more > 0 {
		w.printf("  and %s more; -o json has all\n", count(more, "change"))
	}
}

// omittedLine is what a Review leaves out, on one line.
func omittedLine(f mizzen.Finding) string {
	text := f.Message
	if f.Ref.Kind != "" {
		text = f.Ref.String() + ": " + text
	}
	if at := f.Origin.String(); at != "" {
		text += " (" + at + ")"
	}
	return text
}

// ReviewFindings are Effects and Findings in the one form that code hosts
// take, sorted.
func ReviewFindings(r *mizzen.Review) []mizzen.Finding {
	all := r.AllFindings()
	for _, e := range r.Effects {
		all = append(all, effectFinding(e))
	}
	mizzen.SortFindings(all)
	return all
}

func effectFinding(e mizzen.Effect) mizzen.Finding {
	f := mizzen.Finding{
		Code: mizzen.Code(e.Code), Severity: mizzen.Info, Ref: e.Cause, Origin: e.Origin, Message: e.Subject + ": " + e.Message,
	}
	switch e.Impact {
	case mizzen.ImpactDanger:
		f.Severity = mizzen.Fatal
	case mizzen.ImpactWarning:
		f.Severity = mizzen.Warning
	case mizzen.ImpactInfo, mizzen.ImpactNotice:
	}
	if e.Before != "" || e.After != "" {
		f.Message += fmt.Sprintf(" (%s -> %s)", orNothing(e.Before), orNothing(e.After))
	}
	if e.Cluster != "" {
		f.Message += " in cluster " + e.Cluster
	}
	if e.Witness != nil {
		f.Message += "; for example " + witness(e.Witness)
	}
	return f
}
