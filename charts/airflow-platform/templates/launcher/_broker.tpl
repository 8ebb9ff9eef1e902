{{/* Certificates of the broker's authorities, for the pods that talk to it: `broker` in the map that _pod.tpl's templates take. */}}

{{- define "airflow-platform.broker.ca-cert" -}}
{{- if and .broker (eq .root.Values.launcher.kind "celery") .root.Values.launcher.celery.broker.caCert.existingSecret }}true{{ end -}}
{{- end -}}

{{- define "airflow-platform.broker.mounts" -}}
{{- if include "airflow-platform.broker.ca-cert" . -}}
- name: broker-ca
  mountPath: /etc/broker-ca
  readOnly: true
{{- end -}}
{{- end -}}

{{- define "airflow-platform.broker.volumes" -}}
{{- if include "airflow-platform.broker.ca-cert" . -}}
{{- with .root.Values.launcher.celery.broker.caCert -}}
- name: broker-ca
  secret:
    secretName: {{ .existingSecret }}
    items: [{key: {{ .secretKey }}, path: ca.crt}]
{{- end -}}
{{- end -}}
{{- end -}}
