{{/*
Pod template of the migrations Job. The first container generates the Secrets that nobody named; it alone holds a token.
The last migrates the database, and writes pools, the admin user and what is declared; those between dump it first, where its
schema moves.
*/}}
{{- define "airflow-platform.migrations.pod" -}}
{{- $values := .Values.migrations -}}
{{- $pod := dict "root" . "component" "migrations" "values" $values "token" false "database" "itself" "platform" (list "nodePools") -}}
{{- $generated := include "airflow-platform.generated-keys" . | fromJsonArray -}}
metadata:
  {{- include "airflow-platform.pod-metadata" $pod | nindent 2 }}
spec:
  restartPolicy: Never
  {{- include "airflow-platform.pod-spec" $pod | nindent 2 }}
  {{- $before := include "airflow-platform.init-containers" $pod | trim }}
  {{- if or $before $generated .Values.backup.enabled }}
  initContainers:
    {{- with $before }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- if $generated }}
    - name: generate-secrets
      {{- include "airflow-platform.airflow-container" . | nindent 6 }}
      args:
        - python
        - -m
        - airflow_platform.generated_secrets
        - {{ include "airflow-platform.generated-secret.name" . }}
        {{- range $generated }}
        - {{ . }}
        {{- end }}
      {{- with include "airflow-platform.env" (dict "root" . "values" $values "bare" true "blocks" list) | fromYamlArray }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      resources:
        requests: {cpu: 10m, memory: 32Mi}
        limits: {memory: 128Mi}
      volumeMounts:
        {{- include "airflow-platform.token-mount" . | nindent 8 }}
        - name: tmp
          mountPath: /tmp
    {{- end }}
    {{- if .Values.backup.enabled }}
    {{- include "airflow-platform.backup.dump-containers" $pod | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    - name: migrations
      {{- include "airflow-platform.airflow-container" . | nindent 6 }}
      args: [python, -m, airflow_platform.setup{{ if .Values.fernetKey.rotate }}, --rotate-fernet-key{{ end }}]
      env:
        {{- include "airflow-platform.env" (dict "root" . "values" $values "blocks" (list
          (include "airflow-platform.env.database-itself" .)
          (include "airflow-platform.env.fernet" .)
          (.Values.admin.enabled | ternary (include "airflow-platform.env.admin" .) "")
          (include "airflow-platform.env.declared" .)
        )) | nindent 8 }}
      {{- with $values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        {{- include "airflow-platform.airflow-mounts" $pod | nindent 8 }}
        {{- with include "airflow-platform.declared.mounts" . }}
        {{- . | nindent 8 }}
        {{- end }}
  volumes:
    {{- include "airflow-platform.airflow-volumes" $pod | nindent 4 }}
    {{- with include "airflow-platform.declared.volumes" . }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- if .Values.backup.enabled }}
    {{- include "airflow-platform.backup.volumes" . | nindent 4 }}
    {{- end }}
    {{- if $generated }}
    {{- include "airflow-platform.token-volume" . | nindent 4 }}
    {{- end }}
{{- end -}}
