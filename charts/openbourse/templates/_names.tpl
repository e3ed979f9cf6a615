{{- define "openbourse.selector" -}}
app.kubernetes.io/name: openbourse-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "openbourse.labels" -}}
{{ include "openbourse.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: openbourse
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
