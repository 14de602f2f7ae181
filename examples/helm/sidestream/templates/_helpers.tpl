{{- define "sidestream.name" -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "sidestream.selectorLabels" -}}
app.kubernetes.io/name: sidestream
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sidestream.labels" -}}
{{ include "sidestream.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
