{{/*
destination and sync are the same for every Application of this repository but
for the namespace: call with (dict "values" .Values "namespace" "shop").
*/}}
{{- define "destination" -}}
{{- with .values.cluster }}
cluster: {{ . }}
{{- end }}
namespace: {{ .namespace }}
createNamespace: true
{{- end }}
