{{/*
What the pods of all components share. Each takes a map that a component's template makes once: `root`, `component`, `values`
(the component's), `token` (its own container has the API token), `gitSync` (it reads DAGs that git-sync fetches), `upstream` (from the
repository itself, where the others have what dags.gitSync.guard accepts), `migrated` (it waits for the
database's migration), `served` (it waits for api-servers as new as itself; "unless-away": for those alone that answer), `database` ("itself" where it goes past PgBouncer), `broker` (it talks to Celery's), `platform` (the parts of platform.yaml that it reads) and `podTemplate` (it makes worker pods).
*/}}

{{/* Metadata of a component's pod. The checksums restart the pods when what they have read changes. */}}
{{- define "airflow-platform.pod-metadata" -}}
labels:
  {{- include "airflow-platform.selector-labels" . | nindent 2 }}
  {{- with merge (dict) (.values.podLabels | default dict) (.root.Values.podLabels | default dict) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  checksum/airflow.cfg: {{ include "airflow-platform.airflow-cfg" . | sha256sum }}
  {{- $read := dict }}
  {{- range $part, $content := include "airflow-platform.platform-yaml" .root | fromYaml }}
  {{- if has $part $.platform }}{{ $_ := set $read $part $content }}{{ end }}
  {{- end }}
  checksum/platform.yaml: {{ toJson $read | sha256sum }}
  {{- if .podTemplate }}
  checksum/worker-pod.yaml: {{ include "airflow-platform.worker.pod" .root | sha256sum }}
  {{- end }}
  {{- with merge (dict) (.values.podAnnotations | default dict) (.root.Values.podAnnotations | default dict) }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Identity, security and placement of a pod. */}}
{{- define "airflow-platform.pod-spec" -}}
serviceAccountName: {{ include (printf "airflow-platform.%s.name" .component) .root }}
{{- /* What needs a token mounts it: no sidecar or init container has it, too. */}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 50000
  runAsGroup: 50000
  {{- if .gitSync }}
  # Owns the volumes, so that git-sync's user can read its credentials.
  fsGroup: {{ .root.Values.dags.gitSync.runAsUser }}
  fsGroupChangePolicy: OnRootMismatch
  {{- else }}
  fsGroup: 50000
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Security of every container, which takes nothing: Pod Security "restricted", and a root file system that cannot be written. */}}
{{- define "airflow-platform.container-security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Image and security of a container that runs Airflow. Takes the root alone. */}}
{{- define "airflow-platform.airflow-container" -}}
image: {{ include "airflow-platform.airflow-image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- include "airflow-platform.container-security" . | nindent 2 }}
{{- end -}}

{{/* Mounts of a container that runs Airflow. */}}
{{- define "airflow-platform.airflow-mounts" -}}
- name: config
  mountPath: /etc/airflow-platform
  readOnly: true
{{- if .podTemplate }}
{{- /* By subPath: a pod keeps what it has begun with. One that is about to be replaced makes no worker pods of an image
that fails, or that the database's schema does not fit yet. */}}
- name: worker-pod
  mountPath: {{ include "airflow-platform.pod-template.path" . }}
  subPath: {{ base (include "airflow-platform.pod-template.path" .) }}
  readOnly: true
{{- end }}
- name: logs
  mountPath: /opt/airflow/logs
- name: tmp
  mountPath: /tmp
{{- if .token }}
{{ include "airflow-platform.token-mount" . }}
{{- end }}
{{- if .gitSync }}
{{ include "airflow-platform.git-sync.mount" .root }}
{{- end }}
{{- range list "database" "broker" }}
{{- with include (printf "airflow-platform.%s.mounts" .) $ }}
{{ . }}
{{- end }}
{{- end }}
{{- with .values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Volumes of a pod that runs Airflow. */}}
{{- define "airflow-platform.airflow-volumes" -}}
- name: config
  projected:
    sources:
      - configMap:
          name: {{ include "airflow-platform.airflow-config.name" .root }}
      - configMap:
          name: {{ include "airflow-platform.platform-config.name" .root }}
{{- if .podTemplate }}
- name: worker-pod
  configMap:
    name: {{ include "airflow-platform.pod-template.name" .root }}
{{- end }}
- name: logs
  emptyDir: {}
- name: tmp
  emptyDir: {}
{{- if .token }}
{{ include "airflow-platform.token-volume" . }}
{{- end }}
{{- if .gitSync }}
{{ include "airflow-platform.git-sync.volumes" . }}
{{- end }}
{{- range list "database" "broker" }}
{{- with include (printf "airflow-platform.%s.volumes" .) $ }}
{{ . }}
{{- end }}
{{- end }}
{{- with .values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The API token of the pod's account, where clients look for it. */}}
{{- define "airflow-platform.token-mount" -}}
- name: token
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end -}}

{{- define "airflow-platform.token-volume" -}}
- name: token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          name: kube-root-ca.crt
          items: [{key: ca.crt, path: ca.crt}]
      - downwardAPI:
          items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]
{{- end -}}

{{/* What runs before the component. The user's own come first: the database may be reached through one of them. */}}
{{- define "airflow-platform.init-containers" -}}
{{- with .values.extraInitContainers }}
{{ toYaml . }}
{{- end }}
{{- if .migrated }}
{{ include "airflow-platform.wait-for-migrations" . }}
{{- end }}
{{- if .served }}
{{ include "airflow-platform.wait-for-api-server" . }}
{{- end }}
{{- if .gitSync }}
{{ include "airflow-platform.git-sync.container" (dict "root" .root "name" "git-sync-once" "once" true "upstream" .upstream) }}
{{- end }}
{{- end -}}

{{/* What runs beside the component. */}}
{{- define "airflow-platform.sidecars" -}}
{{- if .gitSync }}
{{ include "airflow-platform.git-sync.container" (dict "root" .root "name" "git-sync" "once" false "upstream" .upstream) }}
{{- end }}
{{- with .values.extraContainers }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
Init container that holds a component back until the database has the schema of this image, and the Airflow connections of
`connections`, a list of ids. It reads one row and imports no Airflow, so waiting costs next to nothing.
*/}}
{{- define "airflow-platform.wait-for-migrations" -}}
{{- $arguments := list -}}
{{- range .connections }}{{ $arguments = append $arguments (printf "--connection=%s" .) }}{{ end -}}
{{- $blocks := list (include "airflow-platform.env.database" .root) -}}
{{- include "airflow-platform.waiting-container" (dict "pod" . "name" "wait-for-migrations" "module" "schema" "arguments" $arguments "blocks" $blocks) -}}
{{- end -}}

{{/*
Init container that holds a launcher back until api-servers of this image's Airflow, or a newer one, answer, which themselves have
waited for the migration: an older one would refuse what the launcher's tasks send.
*/}}
{{- define "airflow-platform.wait-for-api-server" -}}
{{- $arguments := list (printf "%s/api/v2/version" (include "airflow-platform.api-server.url" .root)) -}}
{{- if eq (toString .served) "unless-away" }}{{ $arguments = append $arguments "--unless-away" }}{{ end -}}
{{- include "airflow-platform.waiting-container" (dict "pod" . "name" "wait-for-api-server" "module" "api_server_release" "arguments" $arguments "blocks" list) -}}
{{- end -}}

{{/* Takes the pod's map, `name`, `module` (of airflow_platform), its `arguments` and `blocks` of environment. */}}
{{- define "airflow-platform.waiting-container" -}}
{{- $pod := .pod -}}
- name: {{ .name }}
  {{- include "airflow-platform.airflow-container" $pod.root | nindent 2 }}
  args:
    - python
    - -m
    - airflow_platform.{{ .module }}
    - --timeout={{ $pod.root.Values.migrations.waitTimeout | int }}
    {{- range .arguments }}
    - {{ . }}
    {{- end }}
  {{- with include "airflow-platform.env" (dict "root" $pod.root "values" $pod.values "bare" true "blocks" .blocks) | fromYamlArray }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  resources:
    requests: {cpu: 10m, memory: 32Mi}
    limits: {memory: 128Mi}
  volumeMounts:
    - name: tmp
      mountPath: /tmp
    {{- with include "airflow-platform.database.mounts" $pod }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $pod.values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{/*
Probes of a component that serves no HTTP: the age of its heartbeat in the database. `airflow jobs check` says the same
for the price of importing Airflow. A database that is away restarts nothing. Takes `values` and `job`, Airflow's job type.
*/}}
{{- define "airflow-platform.heartbeat-probes" -}}
startupProbe:
  exec:
    command: [python, -m, airflow_platform.heartbeat, {{ .job }}]
  {{- with .values.startupProbe }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
livenessProbe:
  exec:
    command: [python, -m, airflow_platform.heartbeat, {{ .job }}, --max-age, "120", --without-database]
  {{- with .values.livenessProbe }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}
