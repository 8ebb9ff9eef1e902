{{/*
Secrets are named by the user, or generated in the cluster by the migrations Job (docs/adr/0002-generated-secrets.md).
No template makes one: what is rendered never holds a secret, and never changes because of one.
*/}}

{{/* `name` and `key` of a secretKeyRef. Takes `root` and `secret`, a `{existingSecret, secretKey}`. */}}
{{- define "airflow-platform.secret-ref" -}}
name: {{ .secret.existingSecret | default (include "airflow-platform.generated-secret.name" .root) }}
key: {{ .secret.secretKey }}
{{- end -}}

{{/* What is to be generated, as a JSON list of `kind=key`. Empty: everything is named. */}}
{{- define "airflow-platform.generated-keys" -}}
{{- $keys := list -}}
{{- with .Values -}}
{{- if not .fernetKey.existingSecret }}{{ $keys = append $keys (printf "fernet=%s" .fernetKey.secretKey) }}{{ end -}}
{{- if not .apiSecretKey.existingSecret }}{{ $keys = append $keys (printf "random=%s" .apiSecretKey.secretKey) }}{{ end -}}
{{- if not .jwtSecret.existingSecret }}{{ $keys = append $keys (printf "random=%s" .jwtSecret.secretKey) }}{{ end -}}
{{- if and .pgbouncer.enabled (not .pgbouncer.existingSecret) }}{{ $keys = append $keys (printf "random=%s" .pgbouncer.secretKey) }}{{ end -}}
{{- if and .admin.enabled (not .admin.existingSecret) }}{{ $keys = append $keys (printf "password=%s" .admin.secretKey) }}{{ end -}}
{{- end -}}
{{- $keys | toJson -}}
{{- end -}}
