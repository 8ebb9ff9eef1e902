{{/*
A RoleBinding of a component's ServiceAccount to the Role of the same name. Takes `root`, `component`, `name`, `namespace`
and, for another component that does the same work, `also`, the name of its account.
*/}}
{{- define "airflow-platform.rolebinding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "airflow-platform.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  {{- range compact (list .name .also) }}
  - kind: ServiceAccount
    name: {{ . }}
    namespace: {{ $.root.Release.Namespace }}
  {{- end }}
{{- end -}}
