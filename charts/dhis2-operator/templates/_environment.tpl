{{/* The flags of `dhis2-operator run`, as environment variables. What is empty is left to the flag's default. */}}
{{- define "dhis2-operator.environment" -}}
- name: POD_NAME
  valueFrom: { fieldRef: { fieldPath: metadata.name } }
- { name: LEASE_NAME, value: {{ include "dhis2-operator.name" . }} }
- { name: LEASE_TTL, value: {{ .Values.leaseTtl | quote }} }
- { name: OPERATOR_IMAGE, value: {{ include "dhis2-operator.image" . | quote }} }
- { name: IMAGE_PULL_POLICY, value: {{ .Values.image.pullPolicy | quote }} }
- { name: LOG_FORMAT, value: {{ .Values.logFormat | quote }} }
- { name: LOG_FILTER, value: {{ .Values.logFilter | quote }} }
- { name: CONCURRENCY, value: {{ .Values.concurrency | quote }} }
- { name: RELIST, value: {{ .Values.relist | quote }} }
- { name: DHIS2_REPOSITORY, value: {{ .Values.dhis2Repository | quote }} }
- { name: POSTGRES_IMAGE, value: {{ .Values.postgresImage | quote }} }
{{- with .Values.watchNamespaces }}
- { name: WATCH_NAMESPACES, value: {{ join "," . | quote }} }
{{- end }}
{{- with .Values.issuerName }}
- { name: ISSUER_NAME, value: {{ . | quote }} }
- { name: ISSUER_KIND, value: {{ $.Values.issuerKind | quote }} }
{{- end }}
{{- with .Values.ingressClass }}
- { name: INGRESS_CLASS, value: {{ . | quote }} }
{{- end }}
{{- with .Values.ingressNamespace }}
- { name: INGRESS_NAMESPACE, value: {{ . | quote }} }
{{- end }}
{{- with .Values.ingressCidrs }}
- { name: INGRESS_CIDRS, value: {{ join "," . | quote }} }
{{- end }}
{{- with .Values.runbooks }}
- { name: RUNBOOKS, value: {{ . | quote }} }
{{- end }}
{{- end }}
