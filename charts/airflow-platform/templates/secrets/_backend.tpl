{{/*
A secrets backend, where Airflow looks for a connection or a variable before its database: for the components that look there.
Tasks ask the api-server, so workers and Celery's launcher need no access to it. Takes the root alone.
*/}}
{{- define "airflow-platform.env.secrets-backend" -}}
{{- with .Values.secretsBackend -}}
{{- if .class -}}
- name: AIRFLOW__SECRETS__BACKEND
  value: {{ .class }}
{{- if .existingSecret }}
- name: AIRFLOW__SECRETS__BACKEND_KWARGS
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .secretKey }}
{{- include "airflow-platform.env.revision" (dict "secret" . "name" "SECRETS_BACKEND") }}
{{- else if .kwargs }}
{{ dict "name" "AIRFLOW__SECRETS__BACKEND_KWARGS" "value" (toJson .kwargs | replace "$(" "$$(") | list | toYaml }}
{{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.secrets-backend" -}}
{{- with .Values.secretsBackend -}}
{{- if not .class -}}
{{- range $key := list "kwargs" "existingSecret" -}}
{{- if get $.Values.secretsBackend $key -}}
{{- fail (printf "secretsBackend.%s is set, but secretsBackend.class is not. Set it to the backend's class, or take secretsBackend.%s out." $key $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .kwargs .existingSecret -}}
{{- fail "secretsBackend has kwargs and existingSecret, and Airflow takes one of them. Put all of kwargs into the Secret, as JSON, or take existingSecret out." -}}
{{- end -}}
{{- with include "airflow-platform.secret-in" .kwargs -}}
{{- fail (printf "secretsBackend.kwargs has %s, which would stand in the pods' environment. Put all of kwargs into a Secret, as JSON, and set secretsBackend.existingSecret to its name." .) -}}
{{- end -}}
{{- range $option := list "backend" "backend_kwargs" -}}
{{- if and $.Values.secretsBackend.class (hasKey (get $.Values.config "secrets" | default dict) $option) -}}
{{- fail (printf "config.secrets.%s is set, and secretsBackend too. Take one of them out." $option) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
