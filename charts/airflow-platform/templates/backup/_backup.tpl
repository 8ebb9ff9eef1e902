{{/*
A dump of the database before its schema moves, and the way back. Airflow's image knows URL, schema and bucket; PostgreSQL's own
programs, of an image as new as the server, dump and restore. Between them lie two folders: the dump, and how to connect.
*/}}

{{/* Where dumps are, and whose. */}}
{{- define "airflow-platform.env.backup" -}}
{{- with .Values.backup.s3 -}}
{{ with include "airflow-platform.env.s3-checksums" . }}{{ . }}
{{ end -}}
- name: AIRFLOW_PLATFORM_BACKUP
  value: {{ dict "bucket" .bucket "prefix" (.prefix | trimSuffix "/") "endpoint" .endpoint "region" .region
    "namespace" $.Release.Namespace "release" (include "airflow-platform.fullname" $) | toJson | squote }}
{{- if .existingSecret }}
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .keys.accessKey }}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef:
      name: {{ .existingSecret }}
      key: {{ .keys.secretKey }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What dumps, one after the other. Takes the pod's map. */}}
{{- define "airflow-platform.backup.dump-containers" -}}
{{- $dump := printf "test ! -e /connection/needed || exec timeout %d pg_dump %s --format=custom --file=/backup/dump" (int .root.Values.backup.deadlineSeconds) (include "airflow-platform.backup.of-airflow" .) -}}
{{- with include "airflow-platform.backup.certificates-container" . -}}
{{ . }}
{{ end -}}
{{ include "airflow-platform.backup.airflow-container" (merge (dict "name" "prepare-backup" "args" (list "prepare")) .) }}
{{ include "airflow-platform.backup.postgresql-container" (merge (dict "name" "dump" "command" $dump) .) }}
{{ include "airflow-platform.backup.airflow-container" (merge (dict "name" "store-backup" "args" (list "store")) .) }}
{{- end -}}

{{/* What of the database is Airflow's: others may have schemas in it. */}}
{{- define "airflow-platform.backup.of-airflow" -}}
--schema="\"$(cat /connection/schema)\""
{{- end -}}

{{/* Takes the pod's map, `name` and `args`. */}}
{{- define "airflow-platform.backup.airflow-container" -}}
- name: {{ .name }}
  {{- include "airflow-platform.airflow-container" .root | nindent 2 }}
  args: {{ concat (list "python" "-m" "airflow_platform.backup") .args | toJson }}
  env:
    {{- include "airflow-platform.env" (dict "root" .root "values" .values "bare" true "blocks" (list
      (include "airflow-platform.env.database-itself" .root)
      (include "airflow-platform.env.fernet" .root)
      (include "airflow-platform.env.backup" .root)
    )) | nindent 4 }}
  {{- include "airflow-platform.backup.resources-and-mounts" . | nindent 2 }}
{{- end -}}

{{/* PostgreSQL's image has no authorities: where the values name none either, it gets those of Airflow's. Takes the pod's map. */}}
{{- define "airflow-platform.backup.certificates-container" -}}
{{- $database := .root.Values.database -}}
{{- if and (include "airflow-platform.database.verifies" .root) (not $database.sslRootCert.existingSecret) -}}
- name: copy-certificates
  {{- include "airflow-platform.airflow-container" .root | nindent 2 }}
  args: [cp, {{ include "airflow-platform.database.root-certificates" .root }}, /connection/ca.crt]
  {{- include "airflow-platform.backup.resources-and-mounts" . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* It knows the connection by a file, so that no password is among a program's arguments. Takes the pod's map, `name` and `command`. */}}
{{- define "airflow-platform.backup.postgresql-container" -}}
{{- $backup := .root.Values.backup -}}
- name: {{ .name }}
  image: {{ include "airflow-platform.image" (dict "image" $backup.image "defaultTag" "") }}
  imagePullPolicy: {{ $backup.image.pullPolicy }}
  securityContext:
    {{- include "airflow-platform.container-security" .root | nindent 4 }}
  command: [sh, -c, {{ .command | quote }}]
  env:
    - name: PGSERVICEFILE
      value: /connection/service
    - name: PGSERVICE
      value: airflow
    {{- with .root.Values.database.sslMode }}
    - name: PGSSLMODE
      value: {{ . }}
    {{- end }}
    {{- if include "airflow-platform.database.verifies" .root }}
    - name: PGSSLROOTCERT
      value: {{ if include "airflow-platform.backup.certificates-container" $ }}/connection/ca.crt{{ else }}{{ include "airflow-platform.database.root-certificates" $.root }}{{ end }}
    {{- end }}
  {{- include "airflow-platform.backup.resources-and-mounts" . | nindent 2 }}
{{- end -}}

{{- define "airflow-platform.backup.resources-and-mounts" -}}
{{- with .root.Values.backup.resources -}}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - name: backup
    mountPath: /backup
  - name: connection
    mountPath: /connection
  - name: tmp
    mountPath: /tmp
  {{- with include "airflow-platform.database.mounts" . }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "airflow-platform.backup.volumes" -}}
- name: backup
  emptyDir: {sizeLimit: {{ .Values.backup.sizeLimit }}}
- name: connection
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- end -}}
