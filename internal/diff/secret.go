package diff

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
)

var secretKind = schema.GroupKind{Kind: "Secret"}

func isSecret(u *unstructured.Unstructured) bool {
	return u.GroupVersionKind().GroupKind() == secretKind
}

// encodeSecret moves stringData into data, as the API server does: under
// server-side apply the two have different owners, and a key that leaves
// stringData would stay in data for ever. No message repeats a value.
func (p *preparer) encodeSecret(d *draft) {
	if !isSecret(d.Unstructured) {
		return
	}
	data := p.secretFields(d, "data", canonicalBase64)
	plain := p.secretFields(d, "stringData", func(s string) (string, error) {
		return base64.StdEncoding.EncodeToString([]byte(s)), nil
	})
	if _, ok := d.Unstructured.Object["stringData"]; ok {
		delete(d.Unstructured.Object, "stringData")
		d.Origins = moveOrigins(d.Origins, plain)
	}
	for k, v := range plain {
		data[k] = v
	}
	if len(data) > 0 {
		d.Unstructured.Object["data"] = data
	}
}

func (p *preparer) secretFields(d *draft, name string, encode func(string) (string, error)) map[string]any {
	out := map[string]any{}
	values, isMap := d.Unstructured.Object[name].(map[string]any)
	if !isMap && d.Unstructured.Object[name] != nil {
		p.fatal(d, mizzen.CodeWrongType, mizzen.Path(name), name+" is not a mapping", "write key: value pairs")
	}
	for k, v := range values {
		if v == nil {
			continue
		}
		at := mizzen.Path(name).Key(k)
		s, ok := v.(string)
		if !ok {
			p.fatal(d, mizzen.CodeWrongType, at, "the value is not a string", "put it in quotes")
			continue
		}
		encoded, err := encode(s)
		if err != nil {
			p.fatal(d, mizzen.CodeInvalidValue, at, "the value is not base64", "encode it, or write it under stringData")
			continue
		}
		out[k] = encoded
	}
	return out
}

// canonicalBase64 drops line breaks and the like, so that the value equals
// what the API server gives back.
func canonicalBase64(s string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(b), nil
}

func moveOrigins(o mizzen.Origins, keys map[string]any) mizzen.Origins {
	if len(o.Fields) == 0 {
		return o
	}
	fields := make(map[mizzen.Path]mizzen.Origin, len(o.Fields))
	for at, origin := range o.Fields {
		fields[at] = origin
	}
	for k := range keys {
		if origin, ok := fields[mizzen.Path("stringData").Key(k)]; ok {
			fields[mizzen.Path("data").Key(k)] = origin
		}
	}
	return mizzen.Origins{Object: o.Object, Fields: fields}
}

// Hidden stands for a secret value where there is no key to mark it by.
const Hidden = "hidden"

// Masker replaces secret values by marks: "hmac:" and 32 hexadecimal digits.
// The same value in the same field of the same object has the same mark, so
// that a Plan shows that a value changes, and has a digest, without showing
// the value. Marks of different fields cannot be compared: otherwise somebody
// who may plan a Secret of his own could test guesses of another one's value.
// The zero Masker has no key, and hides values altogether.
type Masker struct{ key []byte }

// NewMasker returns a Masker for a secret key of at least 16 bytes, which
// stays in the cluster.
func NewMasker(key []byte) (Masker, error) {
	if len(key) < 16 {
		return Masker{}, fmt.Errorf("the key that hides secret values has %d bytes; 16 are the least", len(key))
	}
	return Masker{key: slices.Clone(key)}, nil
}

func (m Masker) mark(ref mizzen.Ref, at mizzen.Path, value []byte) string {
	if len(m.key) == 0 {
		return Hidden
	}
	h := hmac.New(sha256.New, m.key)
	fmt.Fprintf(h, "%s\x00%s\x00", ref, at)
	h.Write(value)
	return "hmac:" + hex.EncodeToString(h.Sum(nil)[:16])
}

// mask replaces every scalar below value.
func (m Masker) mask(ref mizzen.Ref, at mizzen.Path, value any) any {
	switch v := value.(type) {
	case nil:
		return nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, item := range v {
			out[k] = m.mask(ref, at.Key(k), item)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = m.mask(ref, at.Index(i), item)
		}
		return out
	case string:
		return m.mark(ref, at, []byte(v))
	}
	return m.mark(ref, at, []byte(fmt.Sprint(value)))
}

// secretField tells whether what stands at a path must not be shown. kubectl
// repeats whole manifests in an annotation, Secrets included.
func secretField(secret bool, at mizzen.Path) bool {
	if at == lastApplied {
		return true
	}
	for ; at != "" && secret; at = at.Parent() {
		if at == "data" || at == "stringData" {
			return true
		}
	}
	return false
}

var lastApplied = mizzen.Path("metadata.annotations").Key("kubectl.kubernetes.io/last-applied-configuration")

// ContentHash returns a hash of all that is to be applied, with a key for
// Secrets: the same content gives the same hash. It is "" for a Secret if the
// Masker has no key.
func ContentHash(u *unstructured.Unstructured, m Masker) string {
	// Maps are encoded with sorted keys; rendered objects hold JSON values only.
	b, err := json.Marshal(u.Object)
	if err != nil {
		return ""
	}
	if !isSecret(u) {
		sum := sha256.Sum256(b)
		return "sha256:" + hex.EncodeToString(sum[:16])
	}
	if len(m.key) == 0 {
		return ""
	}
	return m.mark(mizzen.RefOf(u), "", b)
}
