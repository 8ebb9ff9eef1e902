{{/* git-sync: an init container that fetches the DAGs once, and a sidecar that follows the repository. */}}

{{/* How a repository is reached: "http", "ssh" or "" (a file or another protocol). Takes its address. */}}
{{- define "airflow-platform.git-sync.protocol" -}}
{{- $repo := . | default "" -}}
{{- if regexMatch "^https?://" $repo -}}
http
{{- else if or (hasPrefix "ssh://" $repo) (regexMatch "^[^/:]+@[^/]+:" $repo) -}}
ssh
{{- end -}}
{{- end -}}

{{/* The folder that holds the DAGs. */}}
{{- define "airflow-platform.dags-folder" -}}
{{- with .Values.dags -}}
{{- if .gitSync.enabled -}}
{{ .gitSync.root }}/{{ .gitSync.link }}{{ with .subPath | default "" | trimSuffix "/" }}/{{ . }}{{ end }}
{{- else -}}
/opt/airflow/dags{{ with .subPath | default "" | trimSuffix "/" }}/{{ . }}{{ end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Where DAGs come from: the values' `dags.gitSync`, or with its guard what that hands on, which needs no credentials and has no
submodules. Takes `root`, and `upstream` for the guard itself, which looks at so much of the history (airflow_platform.dag_guard).
*/}}
{{- define "airflow-platform.git-sync.source" -}}
{{- $git := .root.Values.dags.gitSync -}}
{{- if and $git.guard.enabled .upstream -}}
{{- if $git.depth }}{{ $git = merge (dict "depth" (max 5 (int $git.depth))) $git }}{{ end -}}
{{- else if $git.guard.enabled -}}
{{- $address := printf "git://%s.%s.svc:9418/dags.git" (include "airflow-platform.dag-guard.name" .root) .root.Release.Namespace -}}
{{- $env := list (dict "name" "GITSYNC_SUBMODULES" "value" "off") -}}
{{- /* Under git-sync's names of before, and git's own, as well; and whatever else is of a Secret. */ -}}
{{- $kept := "^GIT_?SYNC_(GITHUB|USERNAME|PASSWORD|ASKPASS|CREDENTIAL|COOKIE|SSH|KNOWN|GIT_CONFIG|SUBMODULES)|^GIT_(CONFIG|ASKPASS|COOKIE|SSH|KNOWN)" -}}
{{- range $git.extraEnv -}}
{{- if not (or (regexMatch $kept .name) (dig "valueFrom" "secretKeyRef" "" .)) }}{{ $env = append $env . }}{{ end -}}
{{- end -}}
{{- $none := dict "existingSecret" "" -}}
{{- $git = merge (dict "repo" $address "ref" "accepted" "credentials" $none "caCert" $none "extraEnv" $env) (omit $git "credentials" "caCert" "extraEnv") -}}
{{- end -}}
{{- toJson $git -}}
{{- end -}}

{{/* The container. Takes `root`, `name`, `once` and `upstream`. */}}
{{- define "airflow-platform.git-sync.container" -}}
{{- $git := include "airflow-platform.git-sync.source" . | fromJson -}}
{{- $protocol := include "airflow-platform.git-sync.protocol" $git.repo -}}
{{- $once := .once -}}
{{- $credentials := $git.credentials -}}
- name: {{ .name }}
  image: {{ include "airflow-platform.image" (dict "image" $git.image "defaultTag" "") }}
  imagePullPolicy: {{ $git.image.pullPolicy }}
  securityContext:
    runAsUser: {{ $git.runAsUser }}
    runAsGroup: {{ $git.runAsUser }}
    {{- include "airflow-platform.container-security" .root | nindent 4 }}
  env:
    {{- $env := list
      (dict "name" "GITSYNC_REPO" "value" $git.repo)
      (dict "name" "GITSYNC_REF" "value" (toString $git.ref))
      (dict "name" "GITSYNC_PERIOD" "value" $git.period)
      (dict "name" "GITSYNC_DEPTH" "value" ($git.depth | int | toString))
      (dict "name" "GITSYNC_ROOT" "value" $git.root)
      (dict "name" "GITSYNC_LINK" "value" $git.link)
      (dict "name" "GITSYNC_MAX_FAILURES" "value" ($git.maxFailures | int | toString))
      (dict "name" "GITSYNC_ONE_TIME" "value" (toString $once))
      (dict "name" "HOME" "value" "/tmp")
    }}
    {{- /* At a commit it stays, and looks no more: there would be nothing to tell but that the last look is long ago. */}}
    {{- $pinned := regexMatch "^([0-9a-f]{40}|[0-9a-f]{64})$" (toString $git.ref) }}
    {{- $served := and .root.Values.metrics.enabled (not $once) (not $pinned) }}
    {{- $port := (include "airflow-platform.metrics.ports" .root | fromYaml) | dig "git-sync" 0 | int }}
    {{- if $served }}
    {{- $env = concat $env (list
      (dict "name" "GITSYNC_HTTP_BIND" "value" (printf ":%d" $port))
      (dict "name" "GITSYNC_HTTP_METRICS" "value" "true")
    ) }}
    {{- end }}
    {{- if and $credentials.existingSecret (eq $protocol "http") }}
    {{- $env = concat $env (list
      (dict "name" "GITSYNC_USERNAME" "valueFrom" (dict "secretKeyRef" (dict "name" $credentials.existingSecret "key" $credentials.usernameKey)))
      (dict "name" "GITSYNC_PASSWORD_FILE" "value" "/etc/git-credentials/password")
    ) }}
    {{- else if and $credentials.existingSecret (eq $protocol "ssh") }}
    {{- $env = append $env (dict "name" "GITSYNC_SSH_KEY_FILE" "value" "/etc/git-credentials/ssh") }}
    {{- if $credentials.knownHostsKey }}
    {{- $env = concat $env (list
      (dict "name" "GITSYNC_SSH_KNOWN_HOSTS" "value" "true")
      (dict "name" "GITSYNC_SSH_KNOWN_HOSTS_FILE" "value" "/etc/git-credentials/known_hosts")
    ) }}
    {{- else }}
    {{- $env = append $env (dict "name" "GITSYNC_SSH_KNOWN_HOSTS" "value" "false") }}
    {{- end }}
    {{- end }}
    {{- if $git.caCert.existingSecret }}
    {{- $env = append $env (dict "name" "GIT_SSL_CAINFO" "value" "/etc/git-ca/ca.crt") }}
    {{- end }}
    {{- $own := dict }}
    {{- range $git.extraEnv | default list }}{{ $_ := set $own .name true }}{{ end }}
    {{- range $env }}
    {{- if not (hasKey $own .name) }}
    {{- toYaml (list .) | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- with $git.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if $served }}
  ports:
    - name: git-sync
      containerPort: {{ $port }}
  {{- end }}
  {{- with $git.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    - name: dags
      mountPath: {{ $git.root }}
    - name: git-tmp
      mountPath: /tmp
    {{- if and $credentials.existingSecret $protocol }}
    - name: git-credentials
      mountPath: /etc/git-credentials
      readOnly: true
    {{- end }}
    {{- if $git.caCert.existingSecret }}
    - name: git-ca
      mountPath: /etc/git-ca
      readOnly: true
    {{- end }}
{{- end -}}

{{/* Mount of the DAGs in an Airflow container. */}}
{{- define "airflow-platform.git-sync.mount" -}}
- name: dags
  mountPath: {{ .Values.dags.gitSync.root }}
  readOnly: true
{{- end -}}

{{/* Takes `root` and `upstream`. */}}
{{- define "airflow-platform.git-sync.volumes" -}}
{{- $git := include "airflow-platform.git-sync.source" . | fromJson -}}
{{- $protocol := include "airflow-platform.git-sync.protocol" $git.repo -}}
- name: dags
  emptyDir: {}
- name: git-tmp
  emptyDir: {}
{{- with $git.credentials }}
{{- if and .existingSecret $protocol }}
- name: git-credentials
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
    items:
      {{- if eq $protocol "http" }}
      - key: {{ .passwordKey }}
        path: password
      {{- else }}
      - key: {{ .sshKey }}
        path: ssh
      {{- if .knownHostsKey }}
      - key: {{ .knownHostsKey }}
        path: known_hosts
      {{- end }}
      {{- end }}
{{- end }}
{{- end }}
{{- with $git.caCert }}
{{- if .existingSecret }}
- name: git-ca
  secret:
    secretName: {{ .existingSecret }}
    items: [{key: {{ .secretKey }}, path: ca.crt}]
{{- end }}
{{- end }}
{{- end -}}
