{{/* Single sign-on by OpenID Connect, which the api-server alone does (airflow_platform.oidc). Each takes the root alone. */}}

{{- define "airflow-platform.env.oidc" -}}
{{- with .Values.auth.oidc -}}
{{- if .enabled -}}
{{ dict "name" "AIRFLOW_PLATFORM_OIDC" "value" (pick . "name" "issuer" "clientId" "scopes" "claims" "roleMapping" "defaultRole" | toJson | replace "$(" "$$(") | list | toYaml }}
- name: AIRFLOW_PLATFORM_OIDC_CLIENT_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .secretKey }}
{{- include "airflow-platform.env.revision" (dict "secret" . "name" "OIDC") }}
{{- end -}}
{{- end -}}
{{- end -}}
