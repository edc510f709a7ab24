package lint_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/lint"
	"mizzen.dev/mizzen/internal/meshtest"
)

// brief is what a Finding says, in one line: code, severity, path, message and
// remedy.
func brief(findings []mizzen.Finding) []string {
	var lines []string
	for _, f := range findings {
		line := string(f.Code) + " " + string(f.Severity) + " " + string(f.Path) + ": " + f.Message
		if f.Remedy != "" {
			line += " (" + f.Remedy + ")"
		}
		lines = append(lines, line)
	}
	return lines
}

func TestCheck(t *testing.T) {
	cases := map[string]struct {
		manifest string
		want     []string
	}{
		"misspelled field": {
			"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replcas: 2, selector: {}, template: {}}",
			[]string{"MZ2001 error spec.replcas: spec.replcas is not a field of this kind; did you mean replicas? (write replicas)"},
		},
		"field in the wrong place": {
			"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {selector: {}, template: {spec: {containers: [], replicas: 1}}}",
			[]string{
				"MZ2001 error spec.template.spec.replicas: spec.template.spec.replicas is not a field of this kind; replicas belongs to spec (move it to spec)",
			},
		},
		"strange field": {
			"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nspecification: {}",
			[]string{
				"MZ2001 error specification: specification is not a field of this kind (remove it; the top level has the fields " +
					"apiVersion, data, immutable, kind, metadata, stringData, type)",
			},
		},
		"number for a string": {
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {port: 80}",
			[]string{"MZ2002 error data.port: data.port must be a string, not a number (put the value in quotes)"},
		},
		"string for a number": {
			"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: '2', selector: {}, template: {}}",
			[]string{"MZ2002 error spec.replicas: spec.replicas must be an integer, not a string (write the value without quotes)"},
		},
		"fraction for an integer": {
			"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 1.5, selector: {}, template: {}}",
			[]string{"MZ2002 error spec.replicas: spec.replicas must be an integer, not a number"},
		},
		"required fields": {
			"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{image: a, env: [{value: b}]}]}",
			[]string{
				"MZ2003 error spec.containers[0].env[0].name: spec.containers[0].env[0].name is required",
				"MZ2003 error spec.containers[0].name: spec.containers[0].name is required",
			},
		},
		"word of an enumeration": {
			"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: a, imagePullPolicy: IfNotPresnt}]}",
			[]string{
				"MZ2004 error spec.containers[0].imagePullPolicy: spec.containers[0].imagePullPolicy \"IfNotPresnt\" must be one of " +
					"Always, IfNotPresent, Never; did you mean IfNotPresent? (write IfNotPresent)",
			},
		},
		"quantity": {
			"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: a, image: a, resources: {limits: {cpu: lots, memory: 1}}}]}",
			[]string{
				"MZ2004 error spec.containers[0].resources.limits.cpu: spec.containers[0].resources.limits.cpu \"lots\" is not a quantity such as 500m, 2 or 64Mi",
			},
		},
		"secret that is not base64": {
			"apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {token: hunter2!}",
			[]string{"MZ2004 error data.token: data.token is not base64 (encode the value, or write it under stringData)"},
		},
		"null and overflow": {
			"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {a: null}}\nspec: {replicas: 4294967297, selector: {}, template: {}}",
			[]string{
				"MZ2002 warning metadata.labels.a: metadata.labels.a is null, which the API server reads as empty (remove it, or give it a value)",
				"MZ2004 warning spec.replicas: spec.replicas 4294967297 does not fit into 32 bits; the API server makes 1 of it",
			},
		},
		"labels and name": {
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a_b, labels: {'-a': b, c: 'd e'}}",
			[]string{
				"MZ2004 error metadata.labels: metadata.labels: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', " +
					"and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
				"MZ2004 error metadata.labels: metadata.labels: name part must consist of alphanumeric characters, '-', '_' or '.', " +
					"and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
				"MZ2004 error metadata.name: metadata.name \"a_b\" is not a name: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', " +
					"and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
			},
		},
		"weight of a route": {
			"apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec: {hosts: [a], http: [{route: [{destination: {host: a}, wieght: 10}]}]}",
			[]string{"MZ2001 error spec.http[0].route[0].wieght: spec.http[0].route[0].wieght is not a field of this kind; did you mean weight? (write weight)"},
		},
		"one match of several": {
			"apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec: {http: [{match: [{uri: {exact: /a, prefix: /b}}], route: [{destination: {host: a}}]}]}",
			[]string{"MZ2004 error spec.http[0].match[0].uri: spec.http[0].match[0].uri must have at most one of exact, prefix, regex"},
		},
		"mode of mutual TLS": {
			"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec: {mtls: {mode: STRIKT}}",
			[]string{
				"MZ2004 error spec.mtls.mode: spec.mtls.mode \"STRIKT\" must be one of UNSET, DISABLE, PERMISSIVE, STRICT; did you mean STRICT? (write STRICT)",
			},
		},
		"rule in CEL": {
			"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec: {portLevelMtls: {'8080': {mode: DISABLE}}}",
			[]string{"MZ2004 error spec: spec: portLevelMtls requires selector"},
		},
		"rule of ours": {
			"apiVersion: mizzen.dev/v1alpha1\nkind: Application\nmetadata: {name: a, namespace: shop}\nspec: {source: {repository: r, path: ../x}}",
			[]string{"MZ2004 error spec.source.path: spec.source.path: must be relative and stay within the repository"},
		},
		"bounds": {
			"apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {gatewayClassName: istio, listeners: [{name: a, port: 70000, protocol: HTTP}]}",
			[]string{"MZ2004 error spec.listeners[0].port: spec.listeners[0].port 70000 must be at most 65535"},
		},
		"free fields": {
			"apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: e}\nspec: {configPatches: [{patch: {value: {any: [1, null, {a: b}]}}}]}",
			nil,
		},
		"status is nobody's business": {
			"apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: p, creationTimestamp: null}\nspec: {}\nstatus: {}",
			nil,
		},
		"unknown kind": {
			"apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {name: s}",
			[]string{"MZ2005 info : the kind ServiceMonitor of monitoring.coreos.com/v1 is not known, so the object is not checked"},
		},
		"misspelled kind": {
			"apiVersion: apps/v1\nkind: Deploymnet\nmetadata: {name: s}",
			[]string{
				"MZ2005 warning : the kind Deploymnet of apps/v1 is not known, so the object is not checked; did you mean Deployment of apps/v1? " +
					"(write apiVersion: apps/v1 and kind: Deployment)",
			},
		},
		"version of the past": {
			"apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: s}",
			[]string{
				"MZ2005 warning : the kind PodDisruptionBudget of policy/v1beta1 is not known, so the object is not checked; " +
					"did you mean PodDisruptionBudget of policy/v1? (write apiVersion: policy/v1 and kind: PodDisruptionBudget)",
			},
		},
		"asks not to be checked": {
			"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a_b, annotations: {argocd.argoproj.io/sync-options: 'Prune=false, Validate=false'}}\ndta: {}",
			nil,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			objects := meshtest.Objects(t, c.manifest)
			findings, err := lint.Check(t.Context(), objects, lint.Offline())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, brief(findings)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

const widget = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        required: [spec]
        properties:
          metadata: {type: object, properties: {name: {type: string, maxLength: 8}}}
          spec:
            type: object
            required: [size, color]
            x-kubernetes-validations:
            - {rule: "self.size <= self.most", message: too large}
            properties:
              size: {type: integer, minimum: 1, exclusiveMinimum: true, multipleOf: 2}
              most: {type: integer, default: 10}
              color: {type: string, default: red, enum: [red, green]}
              port: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}
              note: {type: string, nullable: true, pattern: "^[a-z]+$", maxLength: 3}
              at: {type: string, format: date-time}
              tags: {type: array, maxItems: 1, items: {type: string}}
              pod: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}
---
`

func TestDefinitionInTheSameCommit(t *testing.T) {
	cases := map[string]struct {
		object string
		want   []string
	}{
		"valid": {"spec: {size: 4, port: http, note: null, at: 2026-01-02T03:04:05Z, pod: {apiVersion: v1, kind: Pod, metadata: {labels: {a: b}}, spec: {}}}", nil},
		"rule after defaults": {
			"spec: {size: 12}", []string{"MZ2004 error spec: spec: too large"},
		},
		"values": {
			"spec: {size: 1, port: true, note: ABCD, at: today, tags: [a, b], color: blue}",
			[]string{
				"MZ2002 error spec.port: spec.port must be a string or an integer, not true or false (put the value in quotes)",
				"MZ2004 error spec.at: spec.at \"today\" is not a valid date-time",
				"MZ2004 error spec.color: spec.color \"blue\" must be one of red, green",
				"MZ2004 error spec.note: spec.note \"ABCD\" must match ^[a-z]+$",
				"MZ2004 error spec.note: spec.note must have at most 3 characters, not 4",
				"MZ2004 error spec.size: spec.size 1 must be a multiple of 2",
				"MZ2004 error spec.size: spec.size 1 must be more than 1",
				"MZ2004 error spec.tags: spec.tags must have at most 1 items, not 2",
			},
		},
		"embedded resource": {
			"spec: {size: 2, pod: {metadata: {lables: {}}}}",
			[]string{"MZ2001 error spec.pod.metadata.lables: spec.pod.metadata.lables is not a field of this kind; did you mean labels? (write labels)"},
		},
		"missing": {"{}", []string{"MZ2003 error spec: spec is required"}},
		"null":    {"spec: {size: null}", []string{"MZ2002 error spec.size: spec.size must be an integer, not null (remove it, or give it a value)"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			manifest := "{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}}"
			if c.object != "{}" {
				manifest = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n" + c.object
			}
			findings, err := lint.Check(t.Context(), meshtest.Objects(t, widget+manifest), lint.Offline())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, brief(findings)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDefinitionThatCannotBeUsed(t *testing.T) {
	for name, change := range map[string][2]string{
		"version that is not served": {"name: v1\n", "name: v2\n"},
		"pattern":                    {"^[a-z]+$", "^[a-z"},
		"type":                       {"type: array", "type: heap"},
		"shape":                      {"versions:", "versions: 7\n  other:"},
	} {
		t.Run(name, func(t *testing.T) {
			broken := strings.Replace(widget, change[0], change[1], 1)
			objects := meshtest.Objects(t, broken+"apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}")[1:]
			objects = append(meshtest.Objects(t, broken), objects...)
			findings, err := lint.Check(t.Context(), objects, lint.Offline())
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range findings {
				if f.Ref.Kind == "Widget" && f.Code == mizzen.CodeUnknownKind && f.Severity == mizzen.Warning {
					return
				}
			}
			t.Errorf("no warning that the definition cannot be used: %v", brief(findings))
		})
	}
}

func TestOrigin(t *testing.T) {
	o := meshtest.Objects(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replcas: 2\n  template: {}\n")[0]
	at := func(line int) mizzen.Origin { return mizzen.Origin{File: "web.yaml", Line: line} }
	o.Origins = mizzen.Origins{Object: at(1), Fields: map[mizzen.Path]mizzen.Origin{"spec": at(4), "spec.replcas": at(5)}}
	findings, err := lint.Check(t.Context(), []mizzen.Object{o}, lint.Offline())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range findings {
		got = append(got, f.Origin.String()+" "+string(f.Path))
	}
	// What is missing is missed where the rest of it stands.
	if diff := cmp.Diff([]string{"web.yaml:4 spec.selector", "web.yaml:5 spec.replcas"}, got); diff != "" {
		t.Error(diff)
	}
}

// No value of a Secret is ever in a Finding.
func TestSecrets(t *testing.T) {
	const secret = "c2VjcmV0LXZhbHVl!"
	for _, m := range []string{
		"data: {a: " + secret + "}", "data: " + secret, "stringData: [" + secret + "]", "immutable: " + secret, "type: {a: " + secret + "}",
	} {
		findings, err := lint.Check(t.Context(), meshtest.Objects(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"+m), lint.Offline())
		if err != nil || len(findings) == 0 {
			t.Errorf("%s: %v, %v", m, findings, err)
		}
		if all := strings.Join(brief(findings), "\n"); strings.Contains(all, secret) {
			t.Errorf("%s", all)
		}
	}
}

func TestNoKind(t *testing.T) {
	want := []string{"MZ2003 error kind: kind is required"}
	if diff := cmp.Diff(want, brief(check(t, lint.Offline(), map[string]any{"apiVersion": "v1", "kind": int64(7)}))); diff != "" {
		t.Error(diff)
	}
}

// The first 50 problems are reported, and always the same ones.
func TestManyProblems(t *testing.T) {
	data := map[string]any{}
	for i := range 1000 {
		data["key"+strconv.Itoa(i)] = int64(i)
	}
	object := map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "c"}, "data": data}
	first := check(t, lint.Offline(), object)
	if len(first) != 50 {
		t.Errorf("%d findings, want 50", len(first))
	}
	if diff := cmp.Diff(first, check(t, lint.Offline(), object)); diff != "" {
		t.Errorf("the second time (-first +second):\n%s", diff)
	}
}

func TestEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lint.Check(ctx, corpus(t, "mesh.yaml"), lint.Offline()); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

func TestClusterDoesNotAnswer(t *testing.T) {
	refused := &mizzen.Error{Kind: mizzen.Unreachable, Object: "cluster", Err: errors.New("connection refused")}
	calls := 0
	c := lint.FromCluster(func(context.Context, schema.GroupVersion) ([]byte, error) {
		calls++
		return nil, refused
	})
	for range 2 {
		if _, err := lint.Check(t.Context(), corpus(t, "cluster.yaml"), c); mizzen.KindOf(err) != mizzen.Unreachable {
			t.Errorf("err = %v", err)
		}
	}
	if calls != 2 {
		t.Errorf("asked %d times; an error must not be remembered", calls)
	}
}

const openAPI = `{"paths": {"/apis/example.com/v1/namespaces/{namespace}/things": {"post": {
  "x-kubernetes-group-version-kind": {"group": "example.com", "version": "v1", "kind": "Thing"},
  "requestBody": {"content": {"*/*": {"schema": {"$ref": "#/components/schemas/com.example.v1.Thing"}}}}}}},
 "components": {"schemas": {"com.example.v1.Thing": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}`

func TestCluster(t *testing.T) {
	calls := map[string]int{}
	c := lint.FromCluster(func(_ context.Context, gv schema.GroupVersion) ([]byte, error) {
		calls[gv.String()]++
		if gv.Group == "example.com" {
			return []byte(openAPI), nil
		}
		return nil, &mizzen.Error{Kind: mizzen.NotFound, Object: gv.String()}
	})
	objects := meshtest.Objects(t, `{apiVersion: example.com/v1, kind: Thing, metadata: {name: t}, size: big}
---
{apiVersion: example.com/v1, kind: Thin, metadata: {name: t}}
---
{apiVersion: absent.example.com/v1, kind: Other, metadata: {name: t}}`)
	want := []string{
		"MZ2002 error size: size must be an integer, not a string (write the value without quotes)",
		"MZ2005 warning : the kind Other of absent.example.com/v1 is not known, so the object is not checked",
		"MZ2005 warning : the kind Thin of example.com/v1 is not known, so the object is not checked; did you mean Thing of example.com/v1? " +
			"(write apiVersion: example.com/v1 and kind: Thing)",
	}
	for range 2 {
		findings, err := lint.Check(t.Context(), objects, c)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, brief(findings)); diff != "" {
			t.Error(diff)
		}
	}
	c.Forget("example.com")
	if _, err := lint.Check(t.Context(), objects, c); err != nil {
		t.Fatal(err)
	}
	// Known ones are asked for once, absent ones each time: they may come.
	if diff := cmp.Diff(map[string]int{"example.com/v1": 2, "absent.example.com/v1": 3}, calls); diff != "" {
		t.Error(diff)
	}
}
