{{/*
Where an Application goes, the same for all of them but for the namespace:
include "destination" (dict "values" .Values "namespace" "shop").
*/}}
{{- define "destination" -}}
{{- with .values.cluster -}}
cluster: {{ . }}
{{ end -}}
namespace: {{ .namespace }}
createNamespace: true
{{- end }}

{{/*
The Application of a control plane, by its revision: include "istiod" "default".
*/}}
{{- define "istiod" -}}
istiod{{ if ne . "default" }}-{{ . }}{{ end }}
{{- end }}

{{/*
All control planes, as entries of dependsOn: include "istiods" .Values.
*/}}
{{- define "istiods" -}}
{{- range .revisions }}
- name: {{ include "istiod" . }}
{{- end }}
{{- end }}

{{/*
What every pod with a proxy waits for, as entries of dependsOn: the webhook that
injects it, and what it reports its metrics by: include "injection" .Values.
*/}}
{{- define "injection" -}}
{{- include "istiods" . }}
{{- if eq .nodes "live" }}
- name: telemetry
{{- end }}
{{- end }}
