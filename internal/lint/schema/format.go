package schema

import (
	"encoding/base64"
	"fmt"
	"math"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/kube-openapi/pkg/validation/strfmt"

	"mizzen.dev/mizzen"
)

// scalar judges what is neither a map nor a list by its format.
func (w *walker) scalar(n *node, v any) {
	if n.format == "" {
		return
	}
	switch v := v.(type) {
	case string:
		w.textFormat(n, v)
	case int64:
		w.intFormat(n, v)
	case float64:
		if n.types&number == 0 {
			w.intFormat(n, int64(v))
		}
	}
}

func (w *walker) intFormat(n *node, v int64) {
	if n.format != "int32" && n.format != formatIntOrString || v >= math.MinInt32 && v <= math.MaxInt32 {
		return
	}
	if !w.builtIn || n.format == formatIntOrString {
		w.invalid(v, "does not fit into 32 bits")
		return
	}
	w.warn(mizzen.CodeInvalidValue, func(at mizzen.Path) (string, string) {
		//nolint:gosec // the overflow is what the API server does
		return fmt.Sprintf("%s %d does not fit into 32 bits; the API server makes %d of it", at, v, int32(v)), ""
	})
}

func (w *walker) textFormat(n *node, v string) {
	if w.builtIn {
		w.goFormat(n, v)
		return
	}
	if strfmt.Default.ContainsName(n.format) && !strfmt.Default.Validates(n.format, v) {
		w.invalid(v, "is not a valid %s", n.format)
	}
}

// goFormat judges a string that Go decodes into something else.
func (w *walker) goFormat(n *node, v string) {
	switch n.format {
	case formatQuantity:
		if _, err := resource.ParseQuantity(v); err != nil {
			w.invalid(v, "is not a quantity such as 500m, 2 or 64Mi")
		}
	case formatTime:
		if _, err := time.Parse(time.RFC3339, v); err != nil {
			w.invalid(v, "is not a time such as 2006-01-02T15:04:05Z")
		}
	case formatBytes:
		// Never the value: this is how Secrets are written.
		w.base64(v)
	}
}

func (w *walker) base64(v string) {
	// encoding/json skips line breaks, and nothing else.
	v = strings.NewReplacer("\n", "", "\r", "").Replace(v)
	if _, err := base64.StdEncoding.DecodeString(v); err == nil {
		return
	}
	w.report(mizzen.CodeInvalidValue, func(at mizzen.Path) (string, string) {
		return string(at) + " is not base64", "encode the value, or write it under stringData"
	})
}
