package generate

import "fmt"

// Paths and expressions overlap, so that the order of rules matters.
var (
	exactPaths  = []string{"/", "/a", "/api", "/api/v1", "/A", "/foo.html", "/a%20b", "/i", "/Api", "/users/7"}
	prefixPaths = []string{"/", "/a", "/api", "/api/", "/api/v", "/A", "/foo", "/i", "/us", "/API/"}
	pathRegexes = []string{`/users/[0-9]+(/.*)?`, `/(en|de)/.*`, `.*\.(jpg|png)`, `/v[0-9]+`, `/a.c`, `(?i)/case/[a-z]+`, `/[^/]+/x`, `/i{1,3}`, `/a|/b`, `/api`}
	headerNames = []string{"x-user", "end-user", "x-a", "cookie", "x-empty"}
	texts       = []string{"jason", "a", "A", "a,b", "v1", "", "jasonx"}
	textRegexes = []string{`^(.*?;)?(user=jason)(;.*)?$`, `[a-z]+`, `v[0-9]|a`, `.*`, `.+`, `jas(on)?`}
	originTexts = []string{"http://a.example.com", "https://a.example.com", "http://A.example.com"}
)

// route returns one rule; guarded is whether it has conditions.
func (b *builder) route(guarded bool) object {
	b.n++
	r := object{"name": fmt.Sprintf("r%d", b.n)}
	if guarded {
		var matches list
		for range 1 + b.rnd.IntN(2) {
			matches = append(matches, b.match())
		}
		r["match"] = matches
	}
	switch b.rnd.IntN(8) {
	case 0:
		r["redirect"] = b.redirect()
	case 1:
		d := object{"status": b.number(200, 404, 418, 503)}
		if b.chance(50) {
			d["body"] = object{"string": "hello"}
		}
		r["directResponse"] = d
		if b.chance(30) {
			r["headers"] = b.headers()
		}
	default:
		b.forward(r)
	}
	if b.chance(15) {
		r["corsPolicy"] = b.cors()
	}
	return r
}

func (b *builder) match() object {
	m := object{}
	if b.chance(85) {
		m["uri"] = b.text3(exactPaths, prefixPaths, pathRegexes)
		if b.chance(20) {
			m["ignoreUriCase"] = true
		}
	}
	b.conditions(m)
	if len(m) == 0 {
		m["uri"] = object{"prefix": "/"}
	}
	return m
}

// conditions adds to a match what does not look at the path.
func (b *builder) conditions(m object) {
	if b.chance(30) {
		headers := object{}
		for range 1 + b.rnd.IntN(2) {
			headers[b.one(headerNames...)] = b.value()
		}
		m["headers"] = headers
	}
	b.added(m)
	if b.chance(12) {
		m["withoutHeaders"] = object{b.one(headerNames...): b.value()}
	}
	if b.chance(20) {
		// One alone: istiod writes several in the order of a map.
		m["queryParams"] = object{b.one("q", "page"): b.query()}
	}
	if b.chance(12) {
		m["method"] = b.choose(object{"exact": b.one("GET", "POST", "get")}, object{"regex": "GET|PUT"}, object{"prefix": "P"})
	}
	if b.chance(8) {
		m["authority"] = b.choose(object{"prefix": "re"}, object{"regex": ".*[:.].*"}, object{"exact": "www.example.com"})
	}
	if b.chance(5) {
		m["scheme"] = object{"exact": b.one("http", "https")}
	}
	if b.chance(8) {
		m["port"] = b.number(9080, 80, 443)
	}
}

// added makes some matches look at what a proxy adds by itself.
func (b *builder) added(m object) {
	switch b.aside.IntN(40) {
	case 0:
		m["headers"] = object{"x-request-id": object{}}
	case 1:
		m["headers"] = object{"x-forwarded-proto": object{"exact": "http"}}
	case 2:
		m["headers"] = object{"x-forwarded-proto": object{"exact": "https"}}
	}
}

// text3 is a match of one of the three kinds.
func (b *builder) text3(exact, prefix, regex []string) object {
	return b.choose(object{"exact": b.one(exact...)}, object{"prefix": b.one(prefix...)}, object{"regex": b.one(regex...)})
}

// value is a match of a header; an empty one asks for its presence.
func (b *builder) value() object {
	if b.chance(15) {
		return object{}
	}
	return b.nonEmpty(b.text3(texts, texts, textRegexes))
}

func (b *builder) query() object {
	if b.chance(15) {
		return object{"exact": ""}
	}
	return b.nonEmpty(b.text3(texts, texts, textRegexes))
}

// nonEmpty keeps an empty text out of prefixes, which istiod rejects.
func (b *builder) nonEmpty(m object) object {
	for kind, v := range m {
		if v == "" {
			m[kind] = "jason"
		}
	}
	return m
}

func (b *builder) choose(of ...object) object { return of[b.rnd.IntN(len(of))] }

func (b *builder) redirect() object {
	r := object{}
	if b.chance(60) {
		r["uri"] = b.one("/new", "/new?k=v", "/", "/a/b")
	}
	if b.chance(50) || len(r) == 0 {
		r["authority"] = b.one("new.example.com", "new.example.com:81")
	}
	switch b.rnd.IntN(4) {
	case 0:
		r["port"] = b.number(8443, 80, 443)
	case 1:
		r["derivePort"] = b.one("FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT")
	}
	if b.chance(30) {
		r["scheme"] = b.one("https", "http")
	}
	if b.chance(60) {
		r["redirectCode"] = b.number(301, 302, 303, 307, 308)
	}
	return r
}

func (b *builder) destination() object {
	d := object{"host": b.one(services...) + ".shop.svc.cluster.local", "port": object{"number": 9080}}
	switch b.rnd.IntN(12) {
	case 0:
		d["subset"] = "missing"
	case 1, 2, 3:
		d["subset"] = "v1"
	case 4, 5:
		d["subset"] = "v2"
	}
	return d
}

// forward makes r a rule that forwards, with some of what can be done on the
// way.
func (b *builder) forward(r object) {
	weights := [][]int{{100}, {100}, {90, 10}, {1, 0, 5}, {50, 50}, {33, 33, 34}}[b.rnd.IntN(6)]
	var destinations list
	for _, weight := range weights {
		d := object{"destination": b.destination()}
		if len(weights) > 1 {
			d["weight"] = weight
			if b.chance(30) {
				d["headers"] = b.headers()
			}
		}
		destinations = append(destinations, d)
	}
	r["route"] = destinations
	if b.chance(35) {
		r["rewrite"] = b.rewrite(r)
	}
	if b.chance(25) {
		r["timeout"] = b.one("2s", "1.5s", "700ms")
	}
	if b.chance(25) {
		r["retries"] = b.retries()
	}
	if b.chance(20) {
		r["fault"] = b.fault()
	}
	if b.chance(20) {
		r["mirrors"] = list{object{"destination": b.destination(), "percentage": object{"value": 100}}}
	}
	if b.chance(35) {
		r["headers"] = b.headers()
	}
}

func (b *builder) retries() object {
	if b.chance(20) {
		return object{"attempts": 0}
	}
	r := object{"attempts": b.number(1, 3), "retryOn": b.one("5xx", "gateway-error", "retriable-4xx,connect-failure", "503", "reset")}
	if b.chance(50) {
		r["perTryTimeout"] = "900ms"
	}
	return r
}

func (b *builder) rewrite(r object) object {
	w := object{}
	if b.chance(40) {
		w["authority"] = b.one("rewritten.example.com", "r.example.com:99")
	}
	switch {
	case b.chance(30):
		w["uriRegexRewrite"] = b.choose(
			object{"match": `^/([a-z]+)/(.*)$`, "rewrite": `/\2/\1`}, object{"match": "a+", "rewrite": "<\\0>"}, object{"match": `/api`, "rewrite": "/x"},
		)
	case b.chance(80) || len(w) == 0:
		w["uri"] = b.one("/", "/n", "/new/", "/p?x=1")
	}
	if _, guarded := r["match"]; !guarded && len(w) == 0 {
		w["uri"] = "/n"
	}
	return w
}

func (b *builder) fault() object {
	abort := object{"httpStatus": b.number(418, 503, 404), "percentage": object{"value": b.number(100, 0, 10, 50)}}
	delay := object{"fixedDelay": "2ms", "percentage": object{"value": b.number(100, 0)}}
	return b.choose(object{"abort": abort}, object{"delay": delay})
}

// headers change those that the requests and answers have, and others.
func (b *builder) headers() object {
	change := func(a, other string) object {
		out := object{}
		if b.chance(50) {
			out["set"] = object{b.one(a, "x-new"): b.one("set", "s e t")}
		}
		if b.chance(40) {
			out["add"] = object{b.one(a, other): "added"}
		}
		if b.chance(40) || len(out) == 0 {
			out["remove"] = list{b.one(a, other)}
		}
		return out
	}
	switch b.rnd.IntN(3) {
	case 0:
		return object{"request": change("x-a", "x-b")}
	case 1:
		return object{"response": change("x-c", "x-d")}
	}
	return object{"request": change("x-a", "x-b"), "response": change("x-c", "x-d")}
}

func (b *builder) cors() object {
	c := object{"allowOrigins": list{b.choose(
		object{"exact": b.one(originTexts...)}, object{"prefix": "http://a"}, object{"regex": `https?://[a-z.]+`}, object{"exact": "*"},
	)}}
	if b.chance(60) {
		c["allowMethods"] = list{"GET", "POST"}
	}
	if b.chance(40) {
		c["allowHeaders"] = list{"x-a", "x-b"}
	}
	if b.chance(40) {
		c["exposeHeaders"] = list{"x-c"}
	}
	if b.chance(40) {
		c["maxAge"] = "24h"
	}
	if b.chance(40) {
		c["allowCredentials"] = b.chance(70)
	}
	if b.chance(30) {
		c["unmatchedPreflights"] = b.one("FORWARD", "IGNORE")
	}
	return c
}
