package effect

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// field is a name and its value in words; a field without a value is not told.
type field struct{ name, value string }

// fields are in the order in which a reader wants them.
type fields []field

func (f *fields) set(name, value string) {
	if value != "" {
		*f = append(*f, field{name, value})
	}
}

func (f fields) get(name string) string {
	for _, x := range f {
		if x.name == name {
			return x.value
		}
	}
	return ""
}

// changed returns only the fields that differ, as "name value, name value".
func changed(b, a fields) (before, after string) { return b.without(a), a.without(b) }

// without tells the fields that other has not, or has otherwise. A field that
// the other side alone has is "not set".
func (f fields) without(other fields) string {
	var out []string
	for _, x := range f {
		if other.get(x.name) != x.value {
			out = append(out, x.name+" "+x.value)
		}
	}
	for _, x := range other {
		// What is off has no settings.
		if f.get(x.name) == "" && !f.isOff() && !other.isOff() {
			out = append(out, x.name+" not set")
		}
	}
	return strings.Join(out, ", ")
}

// besides returns the fields that do not have one of the names.
func (f fields) besides(names []string) fields {
	return slices.DeleteFunc(slices.Clone(f), func(x field) bool { return slices.Contains(names, x.name) })
}

func (f fields) isOff() bool { return len(f) == 1 && (f[0].value == off || f[0].value == plaintext) }

// duration tells a duration as Go does, without trailing zero units; "" for
// none.
func duration(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	return span(d.AsDuration())
}

func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// number tells a number with at most two decimals.
func number(f float64) string {
	return strconv.FormatFloat(float64(int(f*100+0.5))/100, 'f', -1, 64)
}

// plain tells a message whose fields have no words of their own. The spaces of
// prototext are unstable on purpose: they are made one.
func plain(m proto.Message) string {
	return strings.Join(strings.Fields(prototext.MarshalOptions{}.Format(m)), " ")
}

// matcherWords tells a string matcher as Istio's manifests do.
func matcherWords(m *matcherv3.StringMatcher) string {
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		return p.Exact
	case *matcherv3.StringMatcher_Prefix:
		return p.Prefix + "*"
	case *matcherv3.StringMatcher_Suffix:
		return "*" + p.Suffix
	case *matcherv3.StringMatcher_Contains:
		return "*" + p.Contains + "*"
	case *matcherv3.StringMatcher_SafeRegex:
		return "/" + p.SafeRegex.GetRegex() + "/"
	}
	return plain(m)
}

// protocolFields are those that protocol sets: they follow from what a port is
// read as.
var protocolFields = []string{"HTTP version", "requests per connection", "idle timeout", "connection lifetime"}

// protocol tells the settings of HTTP towards a destination.
func protocol(cl *clusterv3.Cluster, f *fields) {
	options, ok := unpack(cl.GetTypedExtensionProtocolOptions()["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"], &httpv3.HttpProtocolOptions{})
	if !ok {
		return
	}
	switch {
	case options.GetUseDownstreamProtocolConfig() != nil:
		f.set("HTTP version", "the caller's")
	case options.GetExplicitHttpConfig().GetHttp2ProtocolOptions() != nil:
		f.set("HTTP version", "2")
	case options.GetAutoConfig() != nil:
		f.set("HTTP version", "negotiated")
	}
	all := options.GetCommonHttpProtocolOptions()
	if n := all.GetMaxRequestsPerConnection(); n != nil {
		f.set("requests per connection", fmt.Sprintf("at most %d", n.GetValue()))
	}
	f.set("idle timeout", duration(all.GetIdleTimeout()))
	f.set("connection lifetime", duration(all.GetMaxConnectionDuration()))
}
