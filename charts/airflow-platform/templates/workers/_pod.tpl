{{/*
Pod of a KubernetesExecutor worker, which runs one task. The executor sets name, arguments and the labels of the task.
It holds no secret of the platform: connections and variables come over the Execution API.
*/}}
{{- define "airflow-platform.worker.pod" -}}
{{- $values := .Values.workers -}}
{{- $gitSync := .Values.dags.gitSync.enabled -}}
{{- $context := dict "root" . "component" "worker" -}}
{{- $pod := dict "root" . "values" $values "serviceAccount" (include "airflow-platform.worker.name" .) "token" true "gitSync" $gitSync -}}
apiVersion: v1
kind: Pod
metadata:
  name: worker
  labels:
    {{- include "airflow-platform.selector-labels" $context | nindent 4 }}
  {{- with merge (dict) ($values.podAnnotations | default dict) (.Values.podAnnotations | default dict) }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  restartPolicy: Never
  {{- include "airflow-platform.pod-spec" $pod | nindent 2 }}
  {{- if $gitSync }}
  initContainers:
    {{- include "airflow-platform.git-sync.container" (dict "root" . "name" "git-sync-once" "once" true) | nindent 4 }}
  {{- end }}
  containers:
    - name: base
      {{- include "airflow-platform.airflow-container" . | nindent 6 }}
      env:
        {{- include "airflow-platform.env" (dict "root" . "values" $values "blocks" (list
          (include "airflow-platform.env.logs" .)
          (include "airflow-platform.env.kubernetes" .)
        )) | nindent 8 }}
      {{- with $values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        {{- include "airflow-platform.airflow-mounts" . | nindent 8 }}
        {{- if $gitSync }}
        {{- include "airflow-platform.git-sync.mount" . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "airflow-platform.airflow-volumes" (dict "root" .) | nindent 4 }}
    {{- if $gitSync }}
    {{- include "airflow-platform.git-sync.volumes" . | nindent 4 }}
    {{- end }}
{{- end -}}
