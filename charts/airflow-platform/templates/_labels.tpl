{{/* Labels. Each takes `root` and `component`. */}}

{{/* Never changes in the life of a release: selectors are immutable, and a pod that carries no version does not restart for one. */}}
{{- define "airflow-platform.selector-labels" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "airflow-platform.labels" -}}
{{ include "airflow-platform.selector-labels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}
