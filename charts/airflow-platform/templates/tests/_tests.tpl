{{/* `helm test`. */}}

{{- define "airflow-platform.test.name" -}}{{ include "airflow-platform.fullname" . }}-test-node-pools{{- end -}}

{{- define "airflow-platform.test.cluster-name" -}}{{ include "airflow-platform.cluster-name" . }}-test-node-pools{{- end -}}

{{/* Annotations of what the test's pod needs: there before it, and gone after it, however it ends. */}}
{{- define "airflow-platform.test.before" -}}
helm.sh/hook: test
helm.sh/hook-weight: "-1"
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
