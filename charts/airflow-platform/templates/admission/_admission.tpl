{{/*
What the API server checks of pods that the platform's accounts create, in CEL. The platform fills in what a DAG leaves open;
this is what a DAG cannot change, as it is judged after all code of DAGs has run.
*/}}

{{- define "airflow-platform.admission.task-pods.name" -}}{{ include "airflow-platform.cluster-name" . }}-task-pods{{- end -}}
{{- define "airflow-platform.admission.worker-pods.name" -}}{{ include "airflow-platform.cluster-name" . }}-worker-pods{{- end -}}

{{/* Which requests are judged: pods created or changed by an account of the release's own, not of others in its namespace. */}}
{{- define "airflow-platform.admission.match" -}}
{{- $users := list -}}
{{- range list "api-server" "dag-guard" "dag-processor" "housekeeping" "launcher" "metrics" "migrations" "pgbouncer" "scheduler" "test" "triggerer" "worker" -}}
{{- $account := include (printf "airflow-platform.%s.name" .) $ -}}
{{- $users = append $users (printf "system:serviceaccount:%s:%s" $.Release.Namespace $account) -}}
{{- end -}}
failurePolicy: Fail
matchConstraints:
  resourceRules:
    - apiGroups: [""]
      apiVersions: [v1]
      operations: [CREATE, UPDATE]
      resources: [pods]
matchConditions:
  - name: by-the-platform
    expression: request.userInfo.username in {{ toJson $users }}
{{- end -}}

{{/* Variables of both policies. */}}
{{- define "airflow-platform.admission.variables" -}}
- name: changed
  expression: request.operation == "UPDATE"
- name: containers
  expression: object.spec.containers + object.spec.?initContainers.orValue([]) + object.spec.?ephemeralContainers.orValue([])
- name: volumes
  expression: object.spec.?volumes.orValue([])
# Those of volumes too, which Kubernetes has from 1.31 on.
- name: images
  expression: >-
    variables.containers.map(c, c.?image.orValue("")) + variables.volumes.map(v, v.?image.?reference.orValue("")).filter(i, i != "")
{{- end -}}

{{/* What no pod may have: rights on its node, or another image than it was admitted with. Takes `hostPaths`, a JSON list of those that may be mounted. */}}
{{- define "airflow-platform.admission.of-the-node" -}}
- expression: >-
    variables.changed || variables.volumes.all(v, !has(v.hostPath) || v.hostPath.path in {{ .hostPaths }})
  message: it mounts a folder of its node (hostPath). Use another kind of volume.
  reason: Forbidden
- expression: >-
    variables.changed || variables.containers.all(c, !c.?securityContext.?privileged.orValue(false))
  message: it has a privileged container. Take privileged out of its security context.
  reason: Forbidden
- expression: >-
    variables.changed || variables.containers.all(c, c.?securityContext.?capabilities.?add.orValue([]).all(a, a == "NET_BIND_SERVICE"))
  message: it adds capabilities to a container. Take them out of its security context.
  reason: Forbidden
- expression: >-
    variables.changed || !(object.spec.?hostNetwork.orValue(false) || object.spec.?hostPID.orValue(false) || object.spec.?hostIPC.orValue(false))
  message: it uses its node's network or processes. Take hostNetwork, hostPID and hostIPC out.
  reason: Forbidden
- expression: >-
    variables.changed || variables.containers.all(c, c.?ports.orValue([]).all(p, p.?hostPort.orValue(0) == 0))
  message: it takes a port of its node (hostPort). Take it out.
  reason: Forbidden
- expression: >-
    variables.changed || object.spec.?nodeName.orValue("") == ""
  message: it names a node (nodeName), past the scheduler and its limits. Name a pool instead.
  reason: Forbidden
- expression: >-
    variables.changed || !object.spec.?priorityClassName.orValue("").startsWith("system-")
  message: it has a priority of the cluster's own components. Name another priority class.
  reason: Forbidden
- expression: >-
    !variables.changed || variables.containers.all(c, (oldObject.spec.containers + oldObject.spec.?initContainers.orValue([]) + oldObject.spec.?ephemeralContainers.orValue([])).exists(o, o.name == c.name && o.image == c.image))
  message: the image of a pod that exists may not be changed.
  reason: Forbidden
{{- end -}}

{{/* Of each namespace of tasks, as a JSON map: `dagFolders` ("" is any), `serviceAccounts` and `imageRepositories` ("" is any). */}}
{{- define "airflow-platform.admission.teams" -}}
{{- $registry := .Values.tasks.imageRegistry | default "" | trimSuffix "/" -}}
{{- $made := dict -}}
{{- range $namespace := include "airflow-platform.task-namespaces" . | fromJsonArray -}}
{{- $team := get $.Values.admissionPolicy.teams $namespace | default dict -}}
{{- $folders := list -}}
{{- range $team.dagFolders }}{{ $folders = append $folders (printf "%s/" (trimAll "/" .)) }}{{ end -}}
{{- $repositories := list -}}
{{- range $team.imageRepositories -}}
{{- $repositories = append $repositories (include "airflow-platform.admission.repository" (dict "name" . "registry" $registry)) -}}
{{- end -}}
{{- if and $repositories $.Values.tasks.xcomSidecar -}}
{{- $repositories = append $repositories (include "airflow-platform.admission.repository" (dict "name" "alpine" "registry" $registry)) -}}
{{- end -}}
{{- $_ := set $made $namespace (dict
  "dagFolders" ($folders | default (list ""))
  "serviceAccounts" ($team.serviceAccounts | default (list $.Values.tasks.serviceAccountName))
  "imageRepositories" ($repositories | default (list $registry))
) -}}
{{- end -}}
{{- toJson $made -}}
{{- end -}}

{{/* A repository with the registry before it where its name has none, as tasks' images get it. Takes `name` and `registry`. */}}
{{- define "airflow-platform.admission.repository" -}}
{{- $name := trimSuffix "/" .name -}}
{{- $host := splitList "/" $name | first -}}
{{- if or (not .registry) (contains "." $host) (contains ":" $host) (eq $host "localhost") -}}
{{ $name }}
{{- else -}}
{{ .registry }}/{{ $name }}
{{- end -}}
{{- end -}}

{{/*
Whether an image `i` is of a repository `r`, in CEL: a registry or folder that it lies in, or the repository itself: what follows is a
tag or a digest, and no port of a registry.
*/}}
{{- define "airflow-platform.admission.is-of" -}}
r == "" || i.startsWith(r + "/") || ((i.startsWith(r + ":") || i.startsWith(r + "@")) && !i.substring(r.size()).contains("/"))
{{- end -}}

{{/*
What the chart itself gives a worker, as a JSON map: `images`, `secrets` and `hostPaths`, which any container may have; `git`, the
Secrets that git-sync alone has, and `gitSync`, its container.
*/}}
{{- define "airflow-platform.admission.worker" -}}
{{- $images := list -}}
{{- $secrets := list -}}
{{- $git := list -}}
{{- $paths := list -}}
{{- $gitSync := dict -}}
{{- $mounts := dict -}}
{{- $spec := (include "airflow-platform.worker.pod" . | fromYaml).spec -}}
{{- range concat ($spec.initContainers | default list) $spec.containers -}}
{{- $images = append $images .image -}}
{{- $named := list -}}
{{- range .env -}}
{{- with dig "valueFrom" "secretKeyRef" "name" "" . }}{{ $named = append $named . }}{{ end -}}
{{- end -}}
{{- range .envFrom -}}
{{- with dig "secretRef" "name" "" . }}{{ $named = append $named . }}{{ end -}}
{{- end -}}
{{- if eq .name "git-sync-once" -}}
{{- $gitSync = . -}}
{{- $git = concat $git $named -}}
{{- range .volumeMounts }}{{ $_ := set $mounts .name true }}{{ end -}}
{{- else -}}
{{- $secrets = concat $secrets $named -}}
{{- end -}}
{{- end -}}
{{- range $spec.volumes -}}
{{- $named := list -}}
{{- with dig "secret" "secretName" "" . }}{{ $named = append $named . }}{{ end -}}
{{- with dig "hostPath" "path" "" . }}{{ $paths = append $paths . }}{{ end -}}
{{- with dig "image" "reference" "" . }}{{ $images = append $images . }}{{ end -}}
{{- range dig "projected" "sources" list . -}}
{{- with dig "secret" "name" "" . }}{{ $named = append $named . }}{{ end -}}
{{- end -}}
{{- if hasKey $mounts .name }}{{ $git = concat $git $named }}{{ else }}{{ $secrets = concat $secrets $named }}{{ end -}}
{{- end -}}
{{- range $secrets }}{{ $git = without $git . }}{{ end -}}
{{- dict "images" ($images | uniq | sortAlpha) "secrets" ($secrets | uniq | sortAlpha) "hostPaths" ($paths | uniq | sortAlpha)
  "git" ($git | uniq | sortAlpha) "gitSync" $gitSync | toJson -}}
{{- end -}}

{{/* Variables of git-sync whose values an upgrade may change and a DAG may, too: they lead its credentials nowhere. */}}
{{- define "airflow-platform.admission.free-git-env" -}}
["GITSYNC_REF","GITSYNC_PERIOD","GITSYNC_DEPTH","GITSYNC_ROOT","GITSYNC_LINK","GITSYNC_MAX_FAILURES"]
{{- end -}}

{{/* What a container does, as a JSON list of words: the policy says the same of that of a pod, in CEL. */}}
{{- define "airflow-platform.admission.words" -}}
{{- $free := include "airflow-platform.admission.free-git-env" . | fromJsonArray -}}
{{- $words := list -}}
{{- range .env -}}
{{- $words = append $words (printf "env %s%s" .name (has .name $free | ternary "" (printf "=%v" (.value | default "")))) -}}
{{- end -}}
{{- range .volumeMounts }}{{ $words = append $words (printf "mount %s %s" .name .mountPath) }}{{ end -}}
{{- toJson $words -}}
{{- end -}}
