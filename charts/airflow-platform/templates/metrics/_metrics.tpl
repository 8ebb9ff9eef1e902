{{/* Metrics: a statsd exporter, which Airflow sends to, and beside it the monitor, which reads the database. */}}

{{- define "airflow-platform.metrics.name" -}}{{ include "airflow-platform.fullname" . }}-metrics{{- end -}}

{{/* Its ports, and those of git-sync and of PgBouncer's exporter. */}}
{{- define "airflow-platform.metrics.ports" -}}
statsd: 9125
exporter: 9102
monitor: 9103
git-sync: 9104
pgbouncer: 9127
{{- end -}}

{{/* What Airflow is told of them. */}}
{{- define "airflow-platform.metrics.config" -}}
metrics:
  statsd_on: true
  # Of the release's namespace. Each task phase looks it up: a longer name would take several questions.
  statsd_host: {{ include "airflow-platform.metrics.name" . }}
  statsd_port: {{ (include "airflow-platform.metrics.ports" . | fromYaml).statsd }}
  # Tags, which the exporter makes labels of; the names without tags are not sent beside them.
  statsd_influxdb_enabled: true
  legacy_names_on: false
  stat_name_handler: airflow_platform.metrics.safe_name
  # A series for each DAG is enough.
  statsd_disabled_tags: job_id,run_id,task_id
  # By task, and of no use without; the monitor counts them by state.
  metrics_block_list: ^ti\.(scheduled|queued|running|deferred)
scheduler:
  # Seconds: what they are counted for is not sent.
  ti_metrics_interval: 86400
{{- end -}}

{{/* A Secret's key that ends at a time, by its path in the monitor. */}}
{{- define "airflow-platform.metrics.expiring" -}}
{{- range .Values.metrics.expiring.secrets }}
- secret:
    name: {{ .existingSecret }}
    # One that is missing is told as what has ended; the other metrics do not wait for it.
    optional: true
    items:
      - key: {{ .secretKey | quote }}
        path: {{ printf "%s/%s" .existingSecret .secretKey | quote }}
{{- end }}
{{- end -}}

{{- define "airflow-platform.validate.metrics" -}}
{{- $values := .Values.metrics -}}
{{- $sent := get .Values.config "metrics" | default dict -}}
{{- range list "serviceMonitor" "prometheusRule" "dashboards" -}}
{{- if and (get $values .).enabled (not $values.enabled) -}}
{{- fail (printf "metrics.%s.enabled is true, but metrics.enabled is false: there would be no metrics. Set metrics.enabled to true, or metrics.%s.enabled to false." . .) -}}
{{- end -}}
{{- end -}}
{{- range list "otel_on" "statsd_datadog_enabled" -}}
{{- if and $values.enabled (get $sent .) -}}
{{- fail (printf "metrics.enabled is true, and config.metrics.%s too, and Airflow sends its metrics one way only. Set one of them to false." .) -}}
{{- end -}}
{{- end -}}
{{- if and $values.enabled (hasKey $sent "statsd_on") (eq (toString $sent.statsd_on | lower) "false") -}}
{{- fail "metrics.enabled is true, but config.metrics.statsd_on is false: Airflow would send nothing, and no alert fire. Take config.metrics.statsd_on out, or set metrics.enabled to false." -}}
{{- end -}}
{{- /* A cluster serves the API of API services; "helm template" alone knows no cluster. */ -}}
{{- $installed := .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" -}}
{{- if and (.Capabilities.APIVersions.Has "apiregistration.k8s.io/v1") (not $installed) -}}
{{- range list "serviceMonitor" "prometheusRule" -}}
{{- if (get $values .).enabled -}}
{{- fail (printf "metrics.%s.enabled is true, but the cluster does not serve monitoring.coreos.com/v1. Install the Prometheus operator first, or set metrics.%s.enabled to false and have Prometheus scrape by the Service (docs/monitoring.md)." . .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
