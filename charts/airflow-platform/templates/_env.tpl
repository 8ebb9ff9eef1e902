{{/* Environment of Airflow's containers. One block a concern, each given only to the components that need it. */}}

{{/*
`env` of a container. Takes `root`, `values` (the component's), `blocks`, the texts of the blocks below, and `bare`, for a
container that reads none of the configuration files.
A user's variable replaces the chart's of the same name: the API server refuses a list with both.
*/}}
{{- define "airflow-platform.env" -}}
{{- $own := concat (.root.Values.extraEnv | default list) (.values.extraEnv | default list) -}}
{{- $names := dict -}}
{{- range $own }}{{ $_ := set $names .name true }}{{ end -}}
{{- $env := list -}}
{{- $files := "[]" -}}
{{- if not .bare }}{{ $files = include "airflow-platform.env.files" .root }}{{ end -}}
{{- range concat (fromYamlArray $files) (fromYamlArray (join "\n" .blocks)) -}}
{{- if not (hasKey $names .name) }}{{ $env = append $env . }}{{ end -}}
{{- end -}}
{{- /* The component's entry wins over the one for all. */ -}}
{{- range $index, $entry := $own -}}
{{- $last := true -}}
{{- range slice $own (add1 $index) }}{{ if eq .name $entry.name }}{{ $last = false }}{{ end }}{{ end -}}
{{- if $last }}{{ $env = append $env $entry }}{{ end -}}
{{- end -}}
{{- toYaml $env -}}
{{- end -}}

{{/*
Secrets that have changed under their names: a container reads them when it starts. What the values say of the change is in the
environment of whatever reads the Secret, which restarts it. Takes `secret`, which has a `revision`, and `name`.
*/}}
{{- define "airflow-platform.env.revision" -}}
{{- with .secret.revision }}
- name: AIRFLOW_PLATFORM_REVISION_{{ $.name }}
  value: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* Where Airflow and airflow_platform find their configuration. */}}
{{- define "airflow-platform.env.files" -}}
- name: AIRFLOW_CONFIG
  value: /etc/airflow-platform/airflow.cfg
- name: AIRFLOW_PLATFORM_CONFIG
  value: /etc/airflow-platform/platform.yaml
{{- end -}}

{{/* Encrypts what the database holds of connections, variables and triggers: for whoever reads them there, not for workers. */}}
{{- define "airflow-platform.env.fernet" -}}
- name: AIRFLOW__CORE__FERNET_KEY
  valueFrom:
    secretKeyRef:
      {{- include "airflow-platform.secret-ref" (dict "root" . "secret" .Values.fernetKey) | nindent 6 }}
{{- include "airflow-platform.env.revision" (dict "secret" .Values.fernetKey "name" "FERNET_KEY") }}
{{- end -}}

{{/* Signs the api-server's requests to the log servers of triggerer and launcher, and no sessions: airflow-platform.env.flask. */}}
{{- define "airflow-platform.env.api-secret" -}}
- name: AIRFLOW__API__SECRET_KEY
  valueFrom:
    secretKeyRef:
      {{- include "airflow-platform.secret-ref" (dict "root" . "secret" .Values.apiSecretKey) | nindent 6 }}
{{- include "airflow-platform.env.revision" (dict "secret" .Values.apiSecretKey "name" "API_SECRET_KEY") }}
{{- end -}}

{{/* Signs task tokens (scheduler) and checks them (api-server). Nobody else may have it: the key of UI sessions is made of it. */}}
{{- define "airflow-platform.env.jwt" -}}
- name: AIRFLOW__API_AUTH__JWT_SECRET
  valueFrom:
    secretKeyRef:
      {{- include "airflow-platform.secret-ref" (dict "root" . "secret" .Values.jwtSecret) | nindent 6 }}
{{- include "airflow-platform.env.revision" (dict "secret" .Values.jwtSecret "name" "JWT_SECRET") }}
{{- end -}}

{{/* Where the scheduler leaves tasks for Celery's launcher, which leaves the results there: it needs no database for them. */}}
{{- define "airflow-platform.env.broker" -}}
{{- if eq .Values.launcher.kind "celery" -}}
{{- range list "AIRFLOW__CELERY__BROKER_URL" "AIRFLOW__CELERY__RESULT_BACKEND" }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ $.Values.launcher.celery.broker.existingSecret }}
      key: {{ $.Values.launcher.celery.broker.secretKey }}
{{- end }}
{{- include "airflow-platform.env.revision" (dict "secret" .Values.launcher.celery.broker "name" "BROKER") }}
{{- end -}}
{{- end -}}

{{/* The user that the migrations Job creates. */}}
{{- define "airflow-platform.env.admin" -}}
{{- with .Values.admin -}}
- name: AIRFLOW_PLATFORM_ADMIN_USERNAME
  value: {{ .username | quote }}
- name: AIRFLOW_PLATFORM_ADMIN_EMAIL
  value: {{ .email | quote }}
- name: AIRFLOW_PLATFORM_ADMIN_FIRST_NAME
  value: {{ .firstName | quote }}
- name: AIRFLOW_PLATFORM_ADMIN_LAST_NAME
  value: {{ .lastName | quote }}
- name: AIRFLOW_PLATFORM_ADMIN_PASSWORD
  valueFrom:
    secretKeyRef:
      {{- include "airflow-platform.secret-ref" (dict "root" $ "secret" .) | nindent 6 }}
{{- include "airflow-platform.env.revision" (dict "secret" . "name" "ADMIN") }}
{{- end -}}
{{- end -}}

{{/*
Access to the logs' bucket: a connection that holds no credentials, and the credentials of the Secret where AWS' SDK
looks for them. Without a Secret the SDK finds the pod's identity.
*/}}
{{- define "airflow-platform.env.logs" -}}
{{- with .Values.logs.s3 }}
{{- if .bucket -}}
{{- /* Whoever uploads a log also has other work: S3 that is away is not to keep it for long. */ -}}
{{- $retries := dict "mode" "standard" "total_max_attempts" 2 -}}
{{- $extra := dict "config_kwargs" (dict "connect_timeout" 5 "read_timeout" 30 "retries" $retries) -}}
{{- with .endpoint }}{{ $_ := set $extra "endpoint_url" . }}{{ end -}}
{{- with .region }}{{ $_ := set $extra "region_name" . }}{{ end -}}
{{ with include "airflow-platform.env.s3-checksums" . }}{{ . }}
{{ end -}}
- name: AIRFLOW_CONN_AWS_LOGS
  value: {{ dict "conn_type" "aws" "extra" $extra | toJson | squote }}
{{- if .existingSecret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .keys.accessKey }}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .keys.secretKey }}
{{- include "airflow-platform.env.revision" (dict "secret" . "name" "LOGS") }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/*
Servers other than AWS' that speak S3, as Google's and older ones, refuse uploads with the checksums that AWS' SDK adds by default.
Takes what has the `endpoint`.
*/}}
{{- define "airflow-platform.env.s3-checksums" -}}
{{- if .endpoint -}}
- name: AWS_REQUEST_CHECKSUM_CALCULATION
  value: when_required
- name: AWS_RESPONSE_CHECKSUM_VALIDATION
  value: when_required
{{- end -}}
{{- end -}}

{{/* The connection that KubernetesPodOperator and its trigger use by default. */}}
{{- define "airflow-platform.env.kubernetes" -}}
{{- $namespace := include "airflow-platform.task-namespaces" . | fromJsonArray | first -}}
- name: AIRFLOW_CONN_KUBERNETES_DEFAULT
  value: {{ dict "conn_type" "kubernetes" "extra" (dict "in_cluster" true "namespace" $namespace) | toJson | squote }}
{{- end -}}
