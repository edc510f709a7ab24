package helm

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	gotemplate "text/template"
	"time"

	// Charts may name time zones, and a sandboxed process has no files.
	_ "time/tzdata"

	"github.com/Masterminds/sprig/v3"
)

// unstable are the functions that give another result every time. env and
// expandenv are not there: Helm has neither.
var unstable = []string{
	"randAlphaNum", "randAlpha", "randAscii", "randNumeric", "randBytes", "randInt", "shuffle", "uuidv4",
	"genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert", "genSelfSignedCertWithKey",
	"genSignedCert", "genSignedCertWithKey", "encryptAES", "htpasswd", "bcrypt", "now", "ago",
}

// calls collects the names of unstable functions that were called. It is safe
// for concurrent use, since a template that ran out of time is still running.
type calls struct {
	mu    sync.Mutex
	names map[string]bool
}

func (c *calls) note(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.names == nil {
		c.names = map[string]bool{}
	}
	c.names[name] = true
}

func (c *calls) called() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.names))
}

// functions returns what takes the place of Helm's functions: the unstable
// ones are observed, the ones that allocate are bounded, and those whose
// result depends on the machine are pinned.
func functions(seen *calls) gotemplate.FuncMap {
	stock := sprig.TxtFuncMap()
	own := gotemplate.FuncMap{
		"keys":   sortedKeys,
		"values": sortedValues,

		"repeat":    repeat,
		"until":     func(n int) ([]int, error) { return count(0, n, cmp.Compare(n, 0)) },
		"untilStep": count,
		"indent":    indent,
		"nindent":   func(spaces int, s string) (string, error) { t, err := indent(spaces, s); return "\n" + t, err },
	}
	for _, name := range unstable {
		own[name] = observe(stock[name], func([]reflect.Value) { seen.note(name) })
	}
	for _, name := range []string{"randAlphaNum", "randAlpha", "randAscii", "randNumeric", "randBytes"} {
		own[name] = boundedLength(own[name])
	}
	own["seq"] = observe(stock["seq"], boundedRange)
	own["durationRound"] = observe(stock["durationRound"], func(args []reflect.Value) {
		if _, isTime := args[0].Interface().(time.Time); isTime {
			seen.note("durationRound")
		}
	})
	pinDates(own, seen)
	return own
}

// observe returns a function of the same type that tells before it calls f.
func observe(f any, tell func(args []reflect.Value)) any {
	v := reflect.ValueOf(f)
	return reflect.MakeFunc(v.Type(), func(args []reflect.Value) []reflect.Value {
		tell(args)
		if v.Type().IsVariadic() {
			return v.CallSlice(args)
		}
		return v.Call(args)
	}).Interface()
}

// boundedLength panics, which the template engine turns into an error, if the
// first argument asks for more than maxString characters.
func boundedLength(f any) any {
	return observe(f, func(args []reflect.Value) {
		if n, ok := args[0].Interface().(int); ok && n > maxString {
			panic(tooLong(n))
		}
	})
}

const (
	maxString = 16 << 20
	maxCount  = 1_000_000
)

// boundedRange panics if the numbers given to seq are too far apart.
func boundedRange(args []reflect.Value) {
	numbers, _ := args[0].Interface().([]int)
	if len(numbers) > 0 && slices.Max(numbers)-min(slices.Min(numbers), 0) > maxCount {
		panic(fmt.Errorf("a sequence is longer than the %d numbers allowed", maxCount))
	}
}

func tooLong(n int) error {
	return fmt.Errorf("%d characters are more than the %d allowed", n, maxString)
}

func repeat(n int, s string) (string, error) {
	if n < 0 {
		return "", fmt.Errorf("cannot repeat %d times", n)
	}
	if n > 0 && len(s) > maxString/n {
		return "", tooLong(maxString + 1)
	}
	return strings.Repeat(s, n), nil
}

func indent(spaces int, s string) (string, error) {
	if spaces < 0 || spaces > maxString/(strings.Count(s, "\n")+1) {
		return "", fmt.Errorf("cannot indent by %d", spaces)
	}
	pad := strings.Repeat(" ", spaces)
	return pad + strings.ReplaceAll(s, "\n", "\n"+pad), nil
}

// count returns the numbers from start to stop, without stop.
func count(start, stop, step int) ([]int, error) {
	numbers := []int{}
	if step == 0 || (stop > start) != (step > 0) {
		return numbers, nil
	}
	if n := (stop - start) / step; n > maxCount {
		return nil, fmt.Errorf("a list of %d numbers is longer than the %d allowed", n, maxCount)
	}
	for i := start; (step > 0 && i < stop) || (step < 0 && i > stop); i += step {
		numbers = append(numbers, i)
	}
	return numbers, nil
}

// sortedKeys is keys, in an order.
func sortedKeys(dicts ...map[string]any) []string {
	all := []string{}
	for _, d := range dicts {
		all = append(all, slices.Sorted(maps.Keys(d))...)
	}
	return all
}

// sortedValues is values, in the order of the keys.
func sortedValues(dict map[string]any) []any {
	all := []any{}
	for _, key := range slices.Sorted(maps.Keys(dict)) {
		all = append(all, dict[key])
	}
	return all
}

// pinDates puts dates in UTC, where Helm takes the zone of the machine. What
// is no time is taken for now.
func pinDates(own gotemplate.FuncMap, seen *calls) {
	inZone := func(name, layout string, date any, zone string) string {
		return formatDate(layout, date, zone, func() { seen.note(name) })
	}
	own["date"] = func(layout string, date any) string { return inZone("date", layout, date, "UTC") }
	own["htmlDate"] = func(date any) string { return inZone("htmlDate", time.DateOnly, date, "UTC") }
	for _, name := range []string{"dateInZone", "date_in_zone"} {
		own[name] = func(layout string, date any, zone string) string { return inZone(name, layout, date, zone) }
	}
	own["htmlDateInZone"] = func(date any, zone string) string { return inZone("htmlDateInZone", time.DateOnly, date, zone) }
	own["toDate"] = func(layout, s string) time.Time { t, _ := time.ParseInLocation(layout, s, time.UTC); return t }
	own["mustToDate"] = func(layout, s string) (time.Time, error) { return time.ParseInLocation(layout, s, time.UTC) }
}

func formatDate(layout string, date any, zone string, isNow func()) string {
	var t time.Time
	switch d := date.(type) {
	case time.Time:
		t = d
	case *time.Time:
		t = *d
	case int64:
		t = time.Unix(d, 0)
	case int:
		t = time.Unix(int64(d), 0)
	case int32:
		t = time.Unix(int64(d), 0)
	default:
		isNow()
		t = time.Now()
	}
	location, err := time.LoadLocation(zone)
	if err != nil || location == time.Local {
		location = time.UTC
	}
	return t.In(location).Format(layout)
}

// Warm loads what would otherwise be read from files when a template first
// asks for it.
func Warm() {
	_, _ = time.LoadLocation("Europe/Berlin")
	_ = time.Now().Local().Format(time.RFC3339)
}
