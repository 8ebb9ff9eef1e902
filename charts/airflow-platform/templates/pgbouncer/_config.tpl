{{/*
pgbouncer.ini, without a secret: the database's own and the password of clients are in files that the pod writes for itself
(airflow_platform.pgbouncer). A host that is gone is noticed within half a minute. What is a user's wins.
*/}}
{{- define "airflow-platform.pgbouncer.ini" -}}
{{- $options := dict
  "listen_addr" "*"
  "listen_port" 6432
  "unix_socket_dir" ""
  "auth_type" "scram-sha-256"
  "auth_file" "/run/pgbouncer/userlist.txt"
  "stats_users" "airflow"
  "pool_mode" "transaction"
  "default_pool_size" (int .Values.pgbouncer.poolSize)
  "max_client_conn" (int .Values.pgbouncer.maxClientConnections)
  "ignore_startup_parameters" "extra_float_digits"
  "tcp_keepidle" 10
  "tcp_keepintvl" 5
  "tcp_keepcnt" 3
  "tcp_user_timeout" 25000
  "log_connections" 0
  "log_disconnections" 0
-}}
{{- /* As libpq does by itself, and PgBouncer does not. */ -}}
{{- $_ := set $options "server_tls_sslmode" (.Values.database.sslMode | default "prefer") -}}
{{- if include "airflow-platform.database.verifies" . -}}
{{- $_ := set $options "server_tls_ca_file" (include "airflow-platform.database.root-certificates" $) -}}
{{- end -}}
{{- range $option, $value := .Values.pgbouncer.config }}{{ $_ := set $options $option $value }}{{ end -}}
[pgbouncer]
{{- range $option, $value := $options }}
{{- if not (kindIs "invalid" $value) }}
{{ $option }} = {{ include "airflow-platform.pgbouncer.value" $value }}
{{- end }}
{{- end }}
%include /run/pgbouncer/databases.ini
{{- end -}}

{{- define "airflow-platform.pgbouncer.value" -}}
{{- if kindIs "bool" . -}}
{{ ternary "1" "0" . }}
{{- else if and (kindIs "float64" .) (eq . (floor .)) -}}
{{ int64 . }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end -}}
