{{/* Names of every object of a release. Anything that needs a name takes it from here. */}}

{{- define "airflow-platform.fullname" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "airflow-platform.api-server.name" -}}{{ include "airflow-platform.fullname" . }}-api-server{{- end -}}
{{- define "airflow-platform.scheduler.name" -}}{{ include "airflow-platform.fullname" . }}-scheduler{{- end -}}
{{- define "airflow-platform.dag-processor.name" -}}{{ include "airflow-platform.fullname" . }}-dag-processor{{- end -}}
{{- define "airflow-platform.dag-guard.name" -}}{{ include "airflow-platform.fullname" . }}-dag-guard{{- end -}}
{{- define "airflow-platform.triggerer.name" -}}{{ include "airflow-platform.fullname" . }}-triggerer{{- end -}}
{{- define "airflow-platform.launcher.name" -}}{{ include "airflow-platform.fullname" . }}-launcher{{- end -}}
{{- define "airflow-platform.worker.name" -}}{{ include "airflow-platform.fullname" . }}-worker{{- end -}}
{{- define "airflow-platform.migrations.name" -}}{{ include "airflow-platform.fullname" . }}-migrations{{- end -}}
{{- define "airflow-platform.pgbouncer.name" -}}{{ include "airflow-platform.fullname" . }}-pgbouncer{{- end -}}
{{- define "airflow-platform.restore.name" -}}{{ include "airflow-platform.fullname" . }}-restore{{- end -}}
{{- define "airflow-platform.housekeeping.name" -}}{{ include "airflow-platform.fullname" . }}-housekeeping{{- end -}}
{{- define "airflow-platform.airflow-config.name" -}}{{ include "airflow-platform.fullname" . }}-config{{- end -}}
{{- define "airflow-platform.platform-config.name" -}}{{ include "airflow-platform.fullname" . }}-platform{{- end -}}
{{- define "airflow-platform.pod-template.path" -}}/etc/airflow-platform-workers/worker-pod.yaml{{- end -}}
{{- define "airflow-platform.pod-template.name" -}}{{ include "airflow-platform.fullname" . }}-worker-pod-template{{- end -}}
{{- /* Before the names of what is of no namespace: two releases may have one name, and no namespace has a ".". */ -}}
{{- define "airflow-platform.cluster-name" -}}{{ .Release.Namespace }}.{{ include "airflow-platform.fullname" . }}{{- end -}}
{{- define "airflow-platform.nodes.name" -}}{{ include "airflow-platform.cluster-name" . }}-nodes{{- end -}}
{{- define "airflow-platform.generated-secret.name" -}}{{ include "airflow-platform.fullname" . }}-generated{{- end -}}

{{/*
A Job's pod template cannot change: each that differs is a new Job. Takes `root` and `template`, the text of the pod template.
*/}}
{{- define "airflow-platform.migrations.job-name" -}}
{{ include "airflow-platform.migrations.name" .root }}-{{ .template | sha256sum | trunc 8 }}
{{- end -}}

{{/* Address of the api-server inside the cluster. */}}
{{- define "airflow-platform.api-server.address" -}}
{{ include "airflow-platform.api-server.name" . }}.{{ .Release.Namespace }}.svc:{{ .Values.apiServer.service.port }}
{{- end -}}

{{/* The same as a URL, down to the path that Airflow is served below; no "/" at its end. */}}
{{- define "airflow-platform.api-server.url" -}}
http://{{ include "airflow-platform.api-server.address" . }}{{ include "airflow-platform.base-url.path" . | trimSuffix "/" }}
{{- end -}}

{{/* Address of PgBouncer inside the cluster. */}}
{{- define "airflow-platform.pgbouncer.address" -}}
{{ include "airflow-platform.pgbouncer.name" . }}.{{ .Release.Namespace }}.svc:6432
{{- end -}}

{{/* Namespaces where tasks create their pods, as a JSON list: templates read it with fromJsonArray. */}}
{{- define "airflow-platform.task-namespaces" -}}
{{- .Values.tasks.namespaces | default list | uniq | toJson -}}
{{- end -}}

{{/* Image reference of a `{repository, tag, digest}`. Takes `image` and `defaultTag`. */}}
{{- define "airflow-platform.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .defaultTag }}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.airflow-image" -}}
{{ include "airflow-platform.image" (dict "image" .Values.image "defaultTag" .Chart.AppVersion) }}
{{- end -}}
