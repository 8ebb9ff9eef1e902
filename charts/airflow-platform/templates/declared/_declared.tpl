{{/*
What the values declare of Airflow's own objects, for the migrations Job, which writes it (airflow_platform.declared): one
variable without secrets, and a file for each secret. Each takes the root alone.
*/}}

{{/* The variable. `$(` is Kubernetes' to expand, unless it is doubled. */}}
{{- define "airflow-platform.env.declared" -}}
{{- $declared := dict -}}
{{- range $kind, $objects := .Values.declared -}}
{{- $own := list -}}
{{- range $objects }}{{ $own = append $own (omit . "existingSecret" "secretKey") }}{{ end -}}
{{- if $own }}{{ $_ := set $declared $kind $own }}{{ end -}}
{{- end -}}
{{- if $declared -}}
{{- dict "name" "AIRFLOW_PLATFORM_DECLARED" "value" (toJson $declared | replace "$(" "$$(") | list | toYaml -}}
{{- end -}}
{{- end -}}

{{/* The files, as a JSON list of the sources of a projected volume: `<kind>/<name>`, each from its Secret. */}}
{{- define "airflow-platform.declared.sources" -}}
{{- $sources := list -}}
{{- range $kind, $identity := dict "connections" "id" "variables" "key" "users" "username" -}}
{{- range get $.Values.declared $kind -}}
{{- if .existingSecret -}}
{{- $name := get . $identity -}}
{{- $item := dict "key" (.secretKey | default $name) "path" (printf "%s/%s" $kind $name) -}}
{{- $sources = append $sources (dict "secret" (dict "name" .existingSecret "items" (list $item))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $sources -}}
{{- end -}}

{{- define "airflow-platform.declared.mounts" -}}
{{- if include "airflow-platform.declared.sources" . | fromJsonArray -}}
- name: declared
  mountPath: /etc/airflow-platform-declared
  readOnly: true
{{- end -}}
{{- end -}}

{{- define "airflow-platform.declared.volumes" -}}
{{- with include "airflow-platform.declared.sources" . | fromJsonArray -}}
- name: declared
  projected:
    sources:
      {{- toYaml . | nindent 6 }}
{{- end -}}
{{- end -}}
