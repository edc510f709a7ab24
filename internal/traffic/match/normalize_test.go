package match

import "testing"

// TestNormalization has what Envoy 1.40 was seen to make of paths.
func TestNormalization(t *testing.T) {
	base := Normalization{DotSegments: true}
	merge := Normalization{DotSegments: true, MergeSlashes: true}
	decode := Normalization{DotSegments: true, MergeSlashes: true, UnescapeSlashes: true}
	onlyMerge := Normalization{MergeSlashes: true}
	cases := []struct {
		path                            string
		base, merge, decode, onlyMerged string
	}{
		{"/", "/", "/", "/", "/"},
		{"//", "//", "//", "//", "//"},
		{"///", "///", "//", "//", "//"},
		{"////?x", "////?x", "//?x", "//?x", "//?x"},
		{"//a", "//a", "/a", "/a", "/a"},
		{"/a//", "/a//", "/a/", "/a/", "/a/"},
		{"/a///b//c", "/a///b//c", "/a/b/c", "/a/b/c", "/a/b/c"},
		{"/%2f", "/%2f", "/%2f", "//", "/%2f"},
		{"/%5c", "/%5c", "/%5c", "//", "/%5c"},
		{"/a%5C%5Cb", "/a%5C%5Cb", "/a%5C%5Cb", "/a/b", "/a%5C%5Cb"},
		{"/a%2f..%2fb", "/a%2f..%2fb", "/a%2f..%2fb", "/b", "/a%2f..%2fb"},
		{"/..//", "//", "//", "//", "/../"},
		{"/.//", "//", "//", "//", "/./"},
		{`/\\`, "///", "//", "//", `/\\`},
		{`/a\b`, "/a/b", "/a/b", "/a/b", `/a\b`},
		{"/a/..//b", "//b", "/b", "/b", "/a/../b"},
		{"//../a", "/a", "/a", "/a", "/../a"},
		{"//..", "/", "/", "/", "/.."},
		{"/?a//b/../c", "/?a//b/../c", "/?a//b/../c", "/?a//b/../c", "/?a//b/../c"},
		{"/a%2f?b%2fc", "/a%2f?b%2fc", "/a%2f?b%2fc", "/a/?b%2fc", "/a%2f?b%2fc"},
		{"/a/./b/../c/", "/a/c/", "/a/c/", "/a/c/", "/a/./b/../c/"},
		{"/a/.", "/a/", "/a/", "/a/", "/a/."},
		{"/a/..", "/", "/", "/", "/a/.."},
		{"/..", "/", "/", "/", "/.."},
		{"/a/...", "/a/...", "/a/...", "/a/...", "/a/..."},
		{"/.a", "/.a", "/.a", "/.a", "/.a"},
		{"/a/%2e%2E/b", "/b", "/b", "/b", "/a/%2e%2E/b"},
		{"/a/.%2e/b", "/b", "/b", "/b", "/a/.%2e/b"},
		{"/%2e%2e%2fb", "/..%2fb", "/..%2fb", "/b", "/%2e%2e%2fb"},
		{"/a%2E%2e", "/a..", "/a..", "/a..", "/a%2E%2e"},
		{"/%41%7e%2d", "/A~-", "/A~-", "/A~-", "/%41%7e%2d"},
		{"/%2500", "/%2500", "/%2500", "/%2500", "/%2500"},
		{"/%", "/%", "/%", "/%", "/%"},
		{"/%zz%2", "/%zz%2", "/%zz%2", "/%zz%2", "/%zz%2"},
		{"/%2g%2e", "/%2g.", "/%2g.", "/%2g.", "/%2g%2e"},
		{"/%c3%a9", "/%c3%a9", "/%c3%a9", "/%c3%a9", "/%c3%a9"},
		{`/"<>^{|}` + "`", "/%22%3C%3E%5E%7B%7C%7D%60", "/%22%3C%3E%5E%7B%7C%7D%60", "/%22%3C%3E%5E%7B%7C%7D%60", `/"<>^{|}` + "`"},
		{"/a;b/../c", "/c", "/c", "/c", "/a;b/../c"},
		{"/..;/a", "/a", "/a", "/a", "/..;/a"},
		{"/a/..;x/b", "/b", "/b", "/b", "/a/..;x/b"},
		{"/a/.;x/b", "/a/b", "/a/b", "/a/b", "/a/.;x/b"},
		{"/a/..;x;y", "/", "/", "/", "/a/..;x;y"},
		{"/a/%2e%2e;x/b", "/a/..;x/b", "/a/..;x/b", "/a/..;x/b", "/a/%2e%2e;x/b"},
		{"/a/..%3bx/b", "/a/..%3bx/b", "/a/..%3bx/b", "/a/..%3bx/b", "/a/..%3bx/b"},
		{"/a;../b", "/a;../b", "/a;../b", "/a;../b", "/a;../b"},
	}
	for _, c := range cases {
		for _, x := range []struct {
			name string
			n    Normalization
			want string
		}{{"none", Normalization{}, c.path}, {"base", base, c.base}, {"merge", merge, c.merge}, {"decode", decode, c.decode}, {"only merge", onlyMerge, c.onlyMerged}} {
			if got, _, refused := x.n.Apply(c.path); got != x.want || refused != "" {
				t.Errorf("%s %s: %s, want %s", x.name, c.path, got, x.want)
			}
		}
	}
	if _, _, refused := base.Apply("/a%00b"); refused == "" {
		t.Error("%00 is normalized")
	}
	if _, _, refused := base.Apply("/?%00"); refused != "" {
		t.Error("%00 in the query is refused")
	}
}

func TestRefusals(t *testing.T) {
	long := make([]byte, 62_000)
	for i := range long {
		long[i] = 'a'
	}
	cases := []struct {
		r    Request
		o    Options
		want string
	}{
		{get("/%00"), Options{Normalization: Normalization{DotSegments: true}}, "bad-request 400"},
		{get("/%00"), Options{}, "direct 200"},
		{get("/#x"), Options{}, "direct 200"},
		{Request{Method: "FOO", Path: "/", Host: "h", HTTP2: true}, Options{}, "direct 200"},
		{Request{Method: "F O", Path: "/", Host: "h", HTTP2: true}, Options{}, "bad-request 400"},
		{get("/\x7f"), Options{}, "bad-request 400"},
		{get("/é"), Options{}, "bad-request 400"},
		{get("x"), Options{}, "bad-request 400"},
		{get("OPTIONS *"), Options{}, "bad-request 404"},
		{get("get /"), Options{}, "bad-request 400"},
		{get("QUERY /"), Options{}, "bad-request 400"},
		{get("PROPFIND /"), Options{}, "direct 200"},
		{get("/", "host: a/b"), Options{}, "bad-request 400"},
		{get("/", "host: a_b"), Options{}, "direct 200"},
		{get("/" + string(long)), Options{}, "bad-request 431"},
		{Request{Method: "GET", Path: "/"}, Options{}, "direct 200"},
	}
	rc := one(t, `{match: {prefix: /}, directResponse: {status: 200}}`)
	for _, c := range cases {
		if got := Route(rc, c.r, c.o); say(got) != c.want {
			t.Errorf("%s %.20s %s: %s, want %s", c.r.Method, c.r.Path, c.r.Host, say(got), c.want)
		}
	}
	r := get("/")
	r.Headers = []Header{{"Host", "b"}}
	if got := Route(rc, r, Options{}); got.Host != "h,b" {
		t.Errorf("two hosts are %s", got.Host)
	}
}
