{{/* What apiServer.baseUrl says of where the api-server is reached. */}}

{{- define "airflow-platform.base-url.host" -}}
{{- (urlParse .Values.apiServer.baseUrl).hostname -}}
{{- end -}}

{{/* The path that a proxy hands on as it is: Airflow takes it off. */}}
{{- define "airflow-platform.base-url.path" -}}
{{- (urlParse .Values.apiServer.baseUrl).path | trimSuffix "/" | default "/" -}}
{{- end -}}
