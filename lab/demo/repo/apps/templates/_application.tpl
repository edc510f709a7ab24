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
