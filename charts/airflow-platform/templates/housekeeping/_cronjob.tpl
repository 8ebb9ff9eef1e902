{{/*
A CronJob of the Airflow image. A run that takes too long is stopped, one that failed is not tried again before the next is due,
and two never run at once. Takes `root`, `name` (what it does), `values` (that part of `housekeeping`), `token`, `database` and
`args`, with the texts of `blocks` as environment.
*/}}
{{- define "airflow-platform.housekeeping.cronjob" -}}
{{- $housekeeping := .root.Values.housekeeping -}}
{{- $pod := dict "root" .root "component" "housekeeping" "values" $housekeeping "token" .token "database" .database "platform" list -}}
apiVersion: batch/v1
kind: CronJob
metadata:
  {{- /* Of a CronJob 52 characters, as its Jobs have eleven more. */}}
  name: {{ include "airflow-platform.fullname" .root | trunc 34 | trimSuffix "-" }}-{{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "airflow-platform.labels" $pod | nindent 4 }}
spec:
  schedule: {{ .values.schedule | quote }}
  timeZone: Etc/UTC
  concurrencyPolicy: Forbid
  # What could not start in time may start within half an hour.
  startingDeadlineSeconds: 1800
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 2
  jobTemplate:
    metadata:
      labels:
        {{- include "airflow-platform.labels" $pod | nindent 8 }}
    spec:
      activeDeadlineSeconds: {{ .values.deadlineSeconds | int }}
      backoffLimit: 0
      template:
        metadata:
          {{- include "airflow-platform.pod-metadata" $pod | nindent 10 }}
        spec:
          restartPolicy: Never
          {{- include "airflow-platform.pod-spec" $pod | nindent 10 }}
          {{- with include "airflow-platform.init-containers" $pod | trim }}
          initContainers:
            {{- . | nindent 12 }}
          {{- end }}
          containers:
            - name: housekeeping
              {{- include "airflow-platform.airflow-container" .root | nindent 14 }}
              args:
                {{- toYaml .args | nindent 16 }}
              env:
                {{- include "airflow-platform.env" (dict "root" .root "values" $housekeeping "blocks" .blocks) | nindent 16 }}
              {{- with $housekeeping.resources }}
              resources:
                {{- toYaml . | nindent 16 }}
              {{- end }}
              volumeMounts:
                {{- include "airflow-platform.airflow-mounts" $pod | nindent 16 }}
          volumes:
            {{- include "airflow-platform.airflow-volumes" $pod | nindent 12 }}
{{- end -}}
