package script

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// eval returns what an expression gives as a message, or "error: …".
func eval(t *testing.T, body string, obj map[string]any) string {
	t.Helper()
	s, err := Compile("test", body)
	if err != nil {
		return "refused: " + err.Error()
	}
	r, err := s.Run(context.Background(), obj)
	if err != nil {
		return "error: " + err.Error()
	}
	return r.Status + "|" + r.Message
}

func TestRun(t *testing.T) {
	obj := map[string]any{
		"spec":   map[string]any{"replicas": int64(3)},
		"status": map[string]any{"ready": int64(2), "list": []any{"c", "a", "b"}},
	}
	cases := []struct{ name, body, want string }{
		{"table", `return {status = "Healthy", message = obj.status.ready .. "/" .. obj.spec.replicas}`, "Healthy|2/3"},
		{"globals", `hs = {}; function f(o) hs.status = "Degraded"; return hs end; return f(obj)`, "Degraded|"},
		{"nothing", `local x = 1`, "|"},
		{"nil", `return nil`, "|"},
		{"not a table", `return 7`, "error: test: script returned a number instead of a table"},
		{"goto", `for _, v in ipairs(obj.status.list) do if v ~= "b" then goto next end do return {message = v} end ::next:: end`, "|b"},
		{"sort", `table.sort(obj.status.list); return {message = table.concat(obj.status.list, ",")}`, "|a,b,c"},
		{"sort by", `table.sort(obj.status.list, function(a, b) return a > b end); return {message = table.concat(obj.status.list)}`, "|cba"},
		{"sort mixed", `table.sort({1, "a"})`, "error: test: test:1: attempt to compare string with number"},
		{"insert", `local t = {}; table.insert(t, "y"); table.insert(t, 1, "x"); return {message = table.concat(t) .. table.getn(t)}`, "|xy2"},
		{"own table", `local t = {}; t[#t + 1] = "x"; t["k"] = 1; t[obj.status.ready] = "y"; return {message = table.concat(t)}`, "|xy"},
		{"runtime error", `return obj.missing.field`, "error: test: test:1: attempt to index a non-table object(nil) with key 'field'"},
		{"concat nil", `return {message = "a" .. obj.none}`, "error: test: test:1: attempt to concatenate a nil value"},
		{"raised", `error("no good")`, "error: test: test:1: no good"},
		{"raised table", `error({})`, "error: test: script raised an error without words"},
		{"syntax", `return {`, "refused: test: test line:1(column:8) near '}':   syntax error\n"},
		{"no address", `return {message = tostring({}) .. tostring(pairs) .. string.format("%s", {})}`, "|tablefunctiontable"},
		{"concat calls", `local function two() return "a", "b" end; return {message = two() .. two()}`, "|aa"},
		{"math", `return {message = math.floor(2.7) .. math.max(1, 5, 3) .. math.fmod(7, 4)}`, "|253"},
		{"time", `return {message = os.time({year = "2026", month = 11, day = 21, hour = 0}) .. ""}`, "|1795219200"},
		{"clock", `return os.time()`, "error: test: test:1: os.time needs a table: scripts have no clock"},
		{"vararg", `local function f(...) return select("#", ...) end`, "refused: test: a vararg (...) cannot be bounded and is refused"},
		{"target", `local function f() return {} end; f()[3] = 1`, "refused: test: an assignment to f()[key] is refused; assign to a variable's field"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := eval(t, c.body, obj)
			if c.name == "syntax" {
				if !strings.HasPrefix(got, "refused: test: ") {
					t.Errorf("got %q", got)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// The functions of the string library, against the results of the Lua 5.1
// manual's rules.
func TestStrings(t *testing.T) {
	cases := []struct{ expression, want string }{
		{`("hello world"):find("wor")`, "7 9"},
		{`("hello"):find("l+")`, "3 4"},
		{`("a.b"):find(".", 1, true)`, "2 2"},
		{`("hello"):find("xyz")`, "nil"},
		{`("hello"):find("")`, "1 0"},
		{`("hello"):find("l", -1)`, "nil"},
		{`("hello"):find("(l)(.)")`, "3 4 l l"},
		{`string.match("3/5", "(%d+)/(%d+)")`, "3 5"},
		{`string.match("2026-11-21T08:00:00Z", "(%d+)-(%d+)-(%d+)T")`, "2026 11 21"},
		{`string.match("key = value", "^(%w+)%s*=%s*(%w+)$")`, "key value"},
		{`string.match("hello", "()ll()")`, "3 5"},
		{`string.match("<<a>>", "<(.-)>")`, "<a"},
		{`string.match("x-1]", "[%w%-]+[]]")`, "x-1]"},
		{`string.match("ab12", "[^%d]+")`, "ab"},
		{`string.match("ab", "%D%D")`, "ab"},
		{`string.match("hello", ".", 2)`, "e"},
		{`string.gsub("ERROR, boom", "ERROR, ", "")`, "boom 1"},
		{`string.gsub("abc", "%w", "%0%0", 2)`, "aabbc 2"},
		{`string.gsub("hello world", "(%w+) (%w+)", "%2 %1")`, "world hello 1"},
		{`string.gsub("abc", "", "-")`, "-a-b-c- 4"},
		{`string.gsub("abc", "^a", "x")`, "xbc 1"},
		{`string.gsub("a b", "%w", {a = "1"})`, "1 b 2"},
		{`string.gsub("a b", "%w", function(c) return c .. c end)`, "aa bb 2"},
		{`string.sub("hello", 2, 3)`, "el"},
		{`string.sub("hello", -3)`, "llo"},
		{`string.sub("hello", 4, 2)`, ""},
		{`string.sub("hello", 9)`, ""},
		{`string.upper("aä"), string.lower("AB"), string.reverse("abc"), ("x"):rep(3), #"abc"`, "AÄ ab cba xxx 3"},
		{`string.format("%d/%d %s %5.1f %% %q", 1, 2, "x", 2.25, "q")`, `1/2 x   2.2 % "q"`},
	}
	for _, c := range cases {
		got := eval(t, `
			local function show(a, b, c, d, e)
				local out = tostring(a)
				if b ~= nil then out = out .. " " .. tostring(b) end
				if c ~= nil then out = out .. " " .. tostring(c) end
				if d ~= nil then out = out .. " " .. tostring(d) end
				if e ~= nil then out = out .. " " .. tostring(e) end
				return out
			end
			return {message = show(`+c.expression+`)}`, nil)
		if got != "|"+c.want {
			t.Errorf("%s = %q, want %q", c.expression, got, "|"+c.want)
		}
	}
	gmatch := `local out = ""; for w in ("a bc d"):gmatch("%w+") do out = out .. "<" .. w .. ">" end; return {message = out}`
	if got := eval(t, gmatch, nil); got != "|<a><bc><d>" {
		t.Errorf("gmatch gave %q", got)
	}
}

func TestPatternErrors(t *testing.T) {
	for _, p := range []string{"[a", "(a", "a)", "%", "%b()", "%f[a]", "(a)%1", "[%W]", strings.Repeat("a", 300)} {
		if got := eval(t, `return {message = string.find("text", "`+p+`")}`, nil); !strings.HasPrefix(got, "error: ") {
			t.Errorf("pattern %q: %q, want an error", p, got)
		}
	}
}

// A script that wants all of the machine gets none of it.
func TestHostileScriptsAreBounded(t *testing.T) {
	long := map[string]any{"s": strings.Repeat("a", 1<<20)}
	cases := []struct{ name, body string }{
		{"endless loop", `while true do end`},
		{"endless repeat", `repeat local x = 1 until false`},
		{"long for", `for i = 1, 1e15 do end`},
		{"goto", `::top:: goto top`},
		{"doubling a string", `local s = "x"; while true do s = s .. s end`},
		{"doubling in a table", `local t = {s = "x"}; for i = 1, 60 do t.s = t.s .. t.s end`},
		{"long repetition", `return {message = ("x"):rep(1e12)}`},
		{"repetition of repetition", `local s = ("x"):rep(1000000); return {message = s:rep(1000000)}`},
		{"wide format", `local s = "x"; while true do s = string.format("%99s%99s", s, s) end`},
		{"gap in a table", `local t = {}; t[60000000] = 1`},
		{"gap in a constructor", `local t = {[60000000] = 1}`},
		{"gap by insert", `local t = {}; table.insert(t, 60000000, 1)`},
		{"many gaps", `for i = 1, 1e6 do local t = {}; t[5000] = 1 end`},
		{"growing table", `local t = {}; for i = 1, 1e12 do t[i] = {i} end`},
		{"backtracking pattern", `return {message = obj.s:find(".-.-.-.-.-.-.-.-.-.-b")}`},
		{"search in a loop", `while true do local x = obj.s:find("b", 1, true) end`},
		{"replacement", `local s = obj.s; while true do s = s:gsub("a", "aaaaaaaaaaaaaaaa") end`},
		{"joining", `local t = {}; for i = 1, 100000 do t[i] = obj.s end; return {message = table.concat(t)}`},
		{"inserting in front", `local t = {}; while true do table.insert(t, 1, 1) end`},
		{"sorting", `local t = {}; for i = 1, 50000 do t[i] = -i end; while true do table.sort(t, function(a, b) return a < b end) end`},
		{"lower", `while true do local x = obj.s:lower() end`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s, err := Compile("hostile", c.body)
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err = s.Run(context.Background(), long)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrBudget) {
				t.Errorf("error %v, want ErrBudget", err)
			}
			if made := (after.TotalAlloc - before.TotalAlloc) >> 20; made > 256 {
				t.Errorf("made %d MiB", made)
			}
			again, err2 := s.Run(context.Background(), long)
			if again != (Result{}) || !errors.Is(err2, ErrBudget) {
				t.Errorf("second run: %v, %v", again, err2)
			}
		})
	}
	if got := eval(t, `local function f() return 1 + f() end; return f()`, nil); !strings.HasPrefix(got, "error: ") {
		t.Errorf("endless recursion gave %q", got)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	s, err := Compile("loop", `while true do end`)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Run(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

func TestScriptsReachNothing(t *testing.T) {
	for _, name := range []string{
		"io", "require", "load", "loadstring", "loadfile", "dofile", "print", "_G", "getfenv", "setfenv",
		"setmetatable", "getmetatable", "rawset", "rawget", "pcall", "xpcall", "coroutine", "debug", "package",
		"module", "newproxy", "collectgarbage", "select", "unpack", "channel", "_printregs",
		"os.execute", "os.getenv", "os.exit", "os.remove", "os.clock", "os.date", "math.random", "string.dump",
	} {
		if got := eval(t, `return {message = tostring(`+name+`)}`, nil); got != "|nil" {
			t.Errorf("%s is %q, want nil", name, got)
		}
	}
}

// A run must not see what an earlier one left, neither in globals nor in the
// libraries, even on the same machine.
func TestRunsDoNotLeak(t *testing.T) {
	spoil := `
		leaked = "yes"; obj.spec = "yes"
		string.find = nil; table.concat = nil; ipairs = nil; math.floor = nil
		string.leaked = "yes"
		return {status = "Healthy"}`
	look := `
		local seen = tostring(leaked) .. tostring(obj.spec) .. tostring(string.leaked)
		for _, v in ipairs({1}) do seen = seen .. math.floor(v) end
		return {message = seen .. table.concat({"a"}) .. ("b"):find("b") .. string.find("b", "b")}`
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if got := eval(t, spoil, map[string]any{}); got != "Healthy|" {
					t.Errorf("spoiling gave %q", got)
				}
				if got := eval(t, look, map[string]any{}); got != "|nilnilnil1a11" {
					t.Errorf("looking gave %q", got)
				}
			}
		})
	}
	wg.Wait()
}

func TestRunIsDeterministic(t *testing.T) {
	labels := map[string]any{}
	for _, k := range strings.Split("q w e r t z u i o p a s d f g h j k l", " ") {
		labels[k] = "v"
	}
	body := `local out = ""; for k, v in pairs(obj.labels) do out = out .. k end; return {message = out}`
	want := "|adefghijklopqrstuwz"
	for range 20 {
		if got := eval(t, body, map[string]any{"labels": labels}); got != want {
			t.Fatalf("pairs gave %q, want %q", got, want)
		}
	}
}

func TestObjectsAreNotChanged(t *testing.T) {
	obj := map[string]any{"metadata": map[string]any{"name": "a", "managedFields": []any{"x"}}}
	got := eval(t, `obj.metadata.name = "b"; return {message = tostring(obj.metadata.managedFields)}`, obj)
	if got != "|nil" {
		t.Errorf("managedFields are %q, want nil", got)
	}
	want := map[string]any{"metadata": map[string]any{"name": "a", "managedFields": []any{"x"}}}
	if diff := cmp.Diff(want, obj); diff != "" {
		t.Errorf("object changed (-want +got)\n%s", diff)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`return {status = "Healthy", message = obj.a .. "b"}`)
	f.Add(`local t = {}; t[1] = ("x"):rep(9); for k, v in pairs(obj) do t[#t+1] = v end return t`)
	f.Add(`return {message = string.gsub("abc", "(%w)-", "%1")}`)
	f.Fuzz(func(_ *testing.T, body string) {
		s, err := Compile("fuzz", body)
		if err != nil {
			return
		}
		_, _ = s.Run(context.Background(), map[string]any{"a": "b", "c": []any{int64(1)}})
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("a.-b", "axxb")
	f.Add("[^%s]+()$", "text")
	f.Fuzz(func(_ *testing.T, source, text string) {
		p, err := compilePattern(source)
		if err != nil {
			return
		}
		m := p.re.FindStringSubmatchIndex(text)
		if m != nil && len(m) != 2+2*len(p.positions) {
			panic("captures are miscounted")
		}
	})
}
