{{/* `helm test`. */}}

{{- define "airflow-platform.test.name" -}}{{ include "airflow-platform.fullname" . }}-test-node-pools{{- end -}}

{{/* Of what is no namespace's: two releases may have one name. */}}
{{- define "airflow-platform.test.cluster-name" -}}{{ .Release.Namespace }}-{{ include "airflow-platform.test.name" . }}{{- end -}}

{{/* Annotations of what the test's pod needs: there before it, and gone after it, however it ends. */}}
{{- define "airflow-platform.test.before" -}}
helm.sh/hook: test
helm.sh/hook-weight: "-1"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
