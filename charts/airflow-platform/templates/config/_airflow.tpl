{{/* Airflow's configuration: what follows from other values, and over it the user's. */}}

{{- define "airflow-platform.derived-config" -}}
core:
  executor: {{ include "airflow-platform.executor" . }}
  dags_folder: {{ include "airflow-platform.dags-folder" . }}
  # Airflow serves it below the path of base_url.
  execution_api_server_url: {{ include "airflow-platform.api-server.url" . }}/execution/
api:
  # Inside the pod; the Service has a port of its own.
  port: 8080
  workers: {{ .Values.apiServer.workers | int }}
  {{- with .Values.apiServer.baseUrl }}
  base_url: {{ . | quote }}
  {{- end }}
{{- if hasPrefix "https://" .Values.apiServer.baseUrl }}
fab:
  # TLS ends at a proxy.
  enable_proxy_fix: true
{{- end }}
database:
  # A host that is gone says nothing.
  sql_alchemy_connect_args: airflow_platform.schema.CONNECT_ARGS
  {{- if .Values.pgbouncer.enabled }}
  # PgBouncer gives each transaction a connection: what was prepared in the one before may be on another.
  sql_alchemy_connect_args_async: airflow_platform.pgbouncer.ASYNC_CONNECT_ARGS
  {{- end }}
dag_processor:
  dag_bundle_config_list: {{ include "airflow-platform.bundles" . }}
{{- with .Values.logs.s3 }}
{{- if .bucket }}
logging:
  remote_logging: true
  # The image's own module: S3, and a plain line where a log is missing.
  logging_config_class: airflow_platform.task_log.LOGGING_CONFIG
  remote_log_conn_id: aws_logs
  remote_base_log_folder: s3://{{ .bucket }}{{ with .prefix | default "" | trimSuffix "/" }}/{{ . }}{{ end }}
  encrypt_s3_logs: false
  delete_local_logs: true
{{- end }}
{{- end }}
scheduler:
  # Airflow's 16 would spread a burst of tasks over several rounds.
  max_tis_per_query: 64
kubernetes_executor:
  namespace: {{ .Release.Namespace }}
  pod_template_file: {{ include "airflow-platform.pod-template.path" . }}
{{- if eq .Values.launcher.kind "celery" }}
celery:
  # Nothing waits at a pod whose slots are taken, and what a lost pod had is delivered again.
  worker_prefetch_multiplier: 1
  task_acks_late: true
  # A message takes Redis a millisecond. Airflow would fork as many senders as the node has cores.
  sync_parallelism: 1
  # A host that is gone says nothing: without these, scheduler and launchers would wait for its TCP to give up, for minutes. A
  # server that a failover makes a replica, or that is away for hours, ends no launcher.
  extra_celery_config: >-
    {"broker_channel_error_retry": true, "broker_connection_max_retries": null, "redis_socket_connect_timeout": 5,
    "redis_socket_keepalive": true, "redis_socket_timeout": 10}
celery_broker_transport_options:
  socket_connect_timeout: 5
  socket_keepalive: true
  # More than the second for which a worker asks for a message.
  socket_timeout: 10
  # A task that runs for longer is delivered a second time, which Airflow ignores.
  visibility_timeout: 86400
{{- end }}
{{- end -}}

{{/* [core] executor: KubernetesExecutor is the default, "launcher" the alias that the cluster policy gives tasks. */}}
{{- define "airflow-platform.executor" -}}
{{- $launchers := include "airflow-platform.launcher-classes" . | fromYaml -}}
KubernetesExecutor{{ with get $launchers .Values.launcher.kind }},launcher:{{ . }}{{ end }}
{{- end -}}

{{/* The image's executors, by launcher.kind. */}}
{{- define "airflow-platform.launcher-classes" -}}
local: airflow_platform.launcher.LocalLauncher
celery: airflow_platform.celery_launcher.CeleryLauncher
{{- end -}}

{{/*
An option's value as airflow.cfg writes it: Python's booleans, whole numbers without an exponent, JSON for lists and
maps, "%" doubled (the file has interpolation), further lines indented.
*/}}
{{- define "airflow-platform.config-value" -}}
{{- if kindIs "bool" . -}}
{{ ternary "True" "False" . }}
{{- else if and (kindIs "float64" .) (eq . (floor .)) -}}
{{ int64 . }}
{{- else if or (kindIs "map" .) (kindIs "slice" .) -}}
{{ toJson . | replace "%" "%%" }}
{{- else -}}
{{ toString . | replace "%" "%%" | trim | replace "\n" "\n    " }}
{{- end -}}
{{- end -}}

{{/*
airflow.cfg. Takes `root` and, for what one component reads of it, `component`. Merged by hand: mergeOverwrite keeps what a
false, a 0 or an empty string should replace.
*/}}
{{- define "airflow-platform.airflow-cfg" -}}
{{- $component := .component | default "" -}}
{{- $readers := include "airflow-platform.option-readers" . | fromYaml -}}
{{- $config := include "airflow-platform.derived-config" .root | fromYaml -}}
{{- if .root.Values.metrics.enabled -}}
{{- $config = merge $config (include "airflow-platform.metrics.config" .root | fromYaml) -}}
{{- end -}}
{{- range $section, $options := .root.Values.config -}}
{{- $merged := get $config $section | default dict -}}
{{- range $option, $value := $options -}}
{{- $_ := set $merged $option $value -}}
{{- end -}}
{{- $_ := set $config $section $merged -}}
{{- end -}}
{{- range $section, $options := $config -}}
{{- $lines := list -}}
{{- range $option, $value := $options -}}
{{- $read := get $readers (printf "%s.%s" $section $option) | default (get $readers $section) -}}
{{- if not (or (kindIs "invalid" $value) (and $component $read (not (has $component $read)))) -}}
{{- $lines = append $lines (printf "%s = %s" $option (include "airflow-platform.config-value" $value)) -}}
{{- end -}}
{{- end -}}
{{- if or $lines (not $component) -}}
[{{ $section }}]
{{ range $lines }}{{ . }}
{{ end }}
{{ end -}}
{{- end -}}
{{- end -}}

{{/* What airflow_platform reads: the launcher, node pools, defaults of task pods. */}}
{{- define "airflow-platform.platform-yaml" -}}
release: {{ include "airflow-platform.fullname" . }}
imageRegistry: {{ .Values.tasks.imageRegistry | default "" | quote }}
triggerers: {{ max 1 (.Values.triggerer.replicas | int) }}
tasks:
  namespaces: {{ include "airflow-platform.task-namespaces" . }}
  serviceAccountName: {{ .Values.tasks.serviceAccountName }}
  infrastructureRetries: {{ .Values.tasks.infrastructureRetries | int }}
  retryDeleted: {{ .Values.tasks.retryDeleted }}
  keepFailedPods: {{ .Values.tasks.keepFailedPods }}
  reaper: {dryRun: {{ .Values.tasks.reaper.dryRun }}}
launcher:
  kind: {{ .Values.launcher.kind }}
  launch: {{ .Values.launcher.launch }}
  slots: {{ .Values.launcher.slots | int }}
  preload: {{ .Values.launcher.preload | default list | toJson }}
workerSets:
  {{- range .Values.workers.sets }}
  - queue: {{ .queue | quote }}
    pod: {{ include "airflow-platform.worker.set" . }}
  {{- else }} []
  {{- end }}
{{- with .Values.declared.pools }}
declared:
  pools:
    {{- range . }}
    - name: {{ .name | quote }}
    {{- end }}
{{- end }}
nodePools:
  {{- range .Values.nodePools }}
  - name: {{ .name | quote }}
    slots: {{ .slots | int }}
    nodeSelector: {{ .nodeSelector | default dict | toJson }}
    tolerations: {{ .tolerations | default list | toJson }}
    podAnnotations: {{ .podAnnotations | default dict | toJson }}
    {{- $resources := .resources | default dict }}
    resources:
      requests: {{ include "airflow-platform.quantities" $resources.requests }}
      limits: {{ include "airflow-platform.quantities" $resources.limits }}
    largest: {{ include "airflow-platform.quantities" .largest }}
    priorityClassName: {{ include "airflow-platform.priority-class.name" (dict "root" $ "pool" .) | quote }}
    quota: {{ include "airflow-platform.quantities" .quota }}
    localQueue: {{ include "airflow-platform.local-queue.name" (dict "root" $ "pool" .) | quote }}
    {{- $minNodes := hasKey . "minNodes" | ternary .minNodes 1 | int }}
    minNodes: {{ $minNodes }}
    scheduleTimeout: {{ .scheduleTimeout | default (eq $minNodes 0 | ternary "30m" "") | default "null" }}
    outOfMemoryFactor: {{ .outOfMemoryFactor | default 1 }}
  {{- else }} []
  {{- end }}
{{- end -}}
