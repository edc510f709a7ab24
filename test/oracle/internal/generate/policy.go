package generate

import "fmt"

// policies guard the workload pay: what it wants of connections, of tokens, and
// who may call it.
func (b *builder) policies(keys string) {
	pay := object{"matchLabels": object{"app": "pay"}}
	if b.chance(80) {
		spec := object{"mtls": object{"mode": b.one("STRICT", "PERMISSIVE", "DISABLE")}}
		if b.chance(60) {
			spec["selector"] = pay
			spec["portLevelMtls"] = object{fmt.Sprint(b.number(8080, 9000)): object{"mode": b.one("STRICT", "PERMISSIVE", "DISABLE")}}
		}
		b.add("security.istio.io/v1", "PeerAuthentication", "shop", "default", spec)
	}
	if b.chance(70) {
		b.add("security.istio.io/v1", "RequestAuthentication", "shop", "pay", object{"selector": pay, "jwtRules": b.jwtRules(keys)})
	}
	for i := range 1 + b.rnd.IntN(4) {
		spec := b.authorization()
		if !b.chance(20) {
			spec["selector"] = pay
		}
		b.add("security.istio.io/v1", "AuthorizationPolicy", "shop", fmt.Sprintf("pay-%d", i), spec)
	}
}

// jwtRules are the issuers whose tokens are trusted.
func (b *builder) jwtRules(keys string) list {
	rules := list{object{"issuer": issuers[0], "jwks": keys, "forwardOriginalToken": b.chance(50)}}
	if b.chance(50) {
		rules = append(rules, object{"issuer": issuers[1], "jwks": keys, "audiences": list{"shop"}})
	}
	return rules
}

// authorization is an AuthorizationPolicy without a target.
func (b *builder) authorization() object {
	spec := object{"action": b.one("ALLOW", "ALLOW", "DENY", "AUDIT")}
	var rules list
	for range b.rnd.IntN(5) {
		rules = append(rules, b.rule())
	}
	if rules == nil && spec["action"] != "ALLOW" {
		rules = list{b.rule()}
	}
	if rules != nil {
		spec["rules"] = rules
	}
	return spec
}

// rule is one rule of an AuthorizationPolicy.
func (b *builder) rule() object {
	r := object{}
	if b.chance(60) {
		r["from"] = b.repeat(func() object { return object{"source": b.source()} })
	}
	if b.chance(70) {
		r["to"] = b.repeat(func() object { return object{"operation": b.operation()} })
	}
	if b.chance(30) || len(r) == 0 {
		r["when"] = b.repeat(b.condition)
	}
	return r
}

func (b *builder) repeat(one func() object) list {
	out := list{one()}
	if b.chance(25) {
		out = append(out, one())
	}
	return out
}

// field adds one or two of the values under a name, or under its negation.
func (b *builder) field(to object, name string, values ...string) {
	if b.chance(25) {
		name = map[string]string{
			"principals": "notPrincipals", "namespaces": "notNamespaces", "ipBlocks": "notIpBlocks", "remoteIpBlocks": "notRemoteIpBlocks",
			"requestPrincipals": "notRequestPrincipals", "paths": "notPaths", "methods": "notMethods", "hosts": "notHosts", "ports": "notPorts",
		}[name]
	}
	out := list{b.one(values...)}
	if other := b.one(values...); b.chance(40) && other != out[0] {
		out = append(out, other)
	}
	to[name] = out
}

func (b *builder) source() object {
	s := object{}
	if b.chance(50) {
		b.field(s, "principals", identities[0], identities[0], identities[2], "*", "*/sa/evil", "cluster.local/ns/shop/*")
	}
	if b.chance(25) {
		b.field(s, "namespaces", "shop", "team", "ops", "sh*", "*ops")
	}
	if b.chance(15) {
		b.field(s, "ipBlocks", "10.244.7.0/24", "203.0.113.9", "10.0.0.0/8")
	}
	if b.chance(15) {
		b.field(s, "remoteIpBlocks", "203.0.113.0/24", "10.1.1.1")
	}
	if b.chance(15) || len(s) == 0 {
		b.field(s, "requestPrincipals", "*", issuers[0]+"/*", issuers[0]+"/bob", "*/eve")
	}
	return s
}

func (b *builder) operation() object {
	o := object{}
	if b.chance(70) {
		b.field(o, "paths", "/api/*", "/api", "/public*", "/public", "*/health", "/admin", "/api/secret*", "/tmpl/{*}/x", "/tmpl/{**}/end", "*")
	}
	if b.chance(35) {
		b.field(o, "methods", "GET", "POST", "DELETE", "P*")
	}
	if b.chance(20) {
		b.field(o, "hosts", "pay.example.com", "*.example.com", "pay*")
	}
	if b.chance(25) || len(o) == 0 {
		b.field(o, "ports", "8080", "9000", "7777")
	}
	return o
}

func (b *builder) condition() object {
	key, values := "request.headers[x-tier]", []string{"free", "gold", "gold*", "*"}
	switch b.rnd.IntN(7) {
	case 0:
		key, values = "request.auth.claims[role]", []string{"admin", "user", "ad*"}
	case 1:
		key, values = "request.auth.claims[nested][deep]", []string{"x", "*"}
	case 2:
		key, values = "request.auth.audiences", []string{"shop", "other"}
	case 3:
		key, values = "source.namespace", []string{"shop", "team"}
	case 4:
		key, values = "destination.port", []string{"8080", "9000"}
	case 5:
		key, values = "source.ip", []string{"10.244.7.0/24", "203.0.113.9"}
	}
	name := "values"
	if b.chance(30) {
		name = "notValues"
	}
	out := list{b.one(values...)}
	if other := b.one(values...); b.chance(40) && other != out[0] {
		out = append(out, other)
	}
	return object{"key": key, name: out}
}
