{{/* The release's name, which tells two operators of one cluster apart. */}}
{{- define "dhis2-operator.name" -}}
{{- $name := .Release.Name -}}
{{- if not (contains "dhis2-operator" $name) -}}{{- $name = printf "%s-dhis2-operator" $name -}}{{- end -}}
{{- $name | trunc 52 | trimSuffix "-" -}}
{{- end }}

{{/* Labels that select the operator's pods; they never change. */}}
{{- define "dhis2-operator.selector" -}}
app.kubernetes.io/name: dhis2-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of every object. The managed-by that the operator gives to parts of instances is another one: it must not take these for such. */}}
{{- define "dhis2-operator.labels" -}}
{{ include "dhis2-operator.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: dhis2-operator
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "dhis2-operator.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end }}
