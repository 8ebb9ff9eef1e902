{{/*
How the metadata database is reached: by PgBouncer where there is one, else directly. What takes a lock for longer than a
transaction, or is long at work, always goes there directly: migrations, backups, housekeeping.
*/}}

{{- define "airflow-platform.env.database" -}}
{{- if .Values.pgbouncer.enabled -}}
{{ include "airflow-platform.env.pgbouncer-password" . }}
# Kubernetes puts the password in.
- name: AIRFLOW__DATABASE__SQL_ALCHEMY_CONN
  value: postgresql://airflow:$(AIRFLOW_PLATFORM_PGBOUNCER_PASSWORD)@{{ include "airflow-platform.pgbouncer.address" . }}/airflow
{{- else -}}
{{ include "airflow-platform.env.database-itself" . }}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.env.pgbouncer-password" -}}
- name: AIRFLOW_PLATFORM_PGBOUNCER_PASSWORD
  valueFrom:
    secretKeyRef:
      {{- include "airflow-platform.secret-ref" (dict "root" . "secret" .Values.pgbouncer) | nindent 6 }}
{{- end -}}

{{- define "airflow-platform.env.database-itself" -}}
- name: AIRFLOW__DATABASE__SQL_ALCHEMY_CONN
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.existingSecret }}
      key: {{ .Values.database.secretKey }}
{{- include "airflow-platform.env.revision" (dict "secret" .Values.database "name" "DATABASE") }}
{{- with .Values.database.sslMode }}
# Read by libpq, and by asyncpg as by libpq.
- name: PGSSLMODE
  value: {{ . }}
{{- end }}
{{- if include "airflow-platform.database.verifies" . }}
- name: PGSSLROOTCERT
  value: {{ include "airflow-platform.database.root-certificates" . }}
{{- end }}
{{- end -}}

{{/* "true" where the database's certificate is checked: libpq does so also with `require`, as soon as it is told of authorities. */}}
{{- define "airflow-platform.database.verifies" -}}
{{- if or (hasPrefix "verify-" .Values.database.sslMode) .Values.database.sslRootCert.existingSecret }}true{{ end -}}
{{- end -}}

{{/* The file of the certificate authorities that the database's certificate may be of. */}}
{{- define "airflow-platform.database.root-certificates" -}}
{{- if .Values.database.sslRootCert.existingSecret -}}
/etc/database-ca/ca.crt
{{- else -}}
/etc/ssl/certs/ca-certificates.crt
{{- end -}}
{{- end -}}

{{/*
"true" where a pod mounts the Secret of certificate authorities: it has `database` "itself", or waits for the migration
(`migrated`) with no PgBouncer between. Takes what the templates of _pod.tpl do.
*/}}
{{- define "airflow-platform.database.checks-certificate" -}}
{{- $itself := or (eq (.database | default "") "itself") (and .migrated (not .root.Values.pgbouncer.enabled)) -}}
{{- if and $itself .root.Values.database.sslMode .root.Values.database.sslRootCert.existingSecret }}true{{ end -}}
{{- end -}}

{{- define "airflow-platform.database.mounts" -}}
{{- if include "airflow-platform.database.checks-certificate" . -}}
- name: database-ca
  mountPath: /etc/database-ca
  readOnly: true
{{- end -}}
{{- end -}}

{{- define "airflow-platform.database.volumes" -}}
{{- if include "airflow-platform.database.checks-certificate" . -}}
{{- with .root.Values.database.sslRootCert -}}
- name: database-ca
  secret:
    secretName: {{ .existingSecret }}
    items: [{key: {{ .secretKey }}, path: ca.crt}]
{{- end -}}
{{- end -}}
{{- end -}}
