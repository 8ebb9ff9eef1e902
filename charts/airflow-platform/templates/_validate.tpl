{{/*
Combinations of values that the schema cannot judge. Each stops the render with a sentence: what is wrong, what to change.
*/}}
{{- define "airflow-platform.validate" -}}
{{- range list
  "database" "image" "secrets-in-config" "executor" "service" "git-sync" "logs" "node-pools"
-}}
{{- include (printf "airflow-platform.validate.%s" .) $ -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.database" -}}
{{- if not .Values.database.existingSecret -}}
{{- fail "database.existingSecret is not set. Create a Secret whose key \"url\" is postgresql://user:password@host:5432/name, and set database.existingSecret to its name: the chart brings no database." -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.image" -}}
{{- range $key, $image := dict "image" .Values.image "dags.gitSync.image" .Values.dags.gitSync.image -}}
{{- if and (not $image.digest) (eq (toString $image.tag) "latest") -}}
{{- fail (printf "%s.tag is \"latest\", which says nothing of what runs. Set %s.tag to a version, or %s.digest." $key $key $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.secrets-in-config" -}}
{{- range list
  (list "core" "fernet_key" "fernetKey.existingSecret")
  (list "database" "sql_alchemy_conn" "database.existingSecret")
  (list "database" "sql_alchemy_conn_async" "database.existingSecret")
  (list "api" "secret_key" "apiSecretKey.existingSecret")
  (list "api_auth" "jwt_secret" "jwtSecret.existingSecret")
-}}
{{- if get (get $.Values.config (index . 0) | default dict) (index . 1) -}}
{{- fail (printf "config.%s.%s would write a secret to a ConfigMap. Put it in a Secret and set %s to its name." (index . 0) (index . 1) (index . 2)) -}}
{{- end -}}
{{- end -}}
{{- with (get .Values.config "api" | default dict).port -}}
{{- fail "config.api.port is the container's own. Set apiServer.service.port to change the port that clients use." -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.executor" -}}
{{- $executor := (get .Values.config "core" | default dict).executor | default "" | toString -}}
{{- if not (contains "KubernetesExecutor" $executor) -}}
{{- fail (printf "config.core.executor is %q, but the only workers that this chart runs are KubernetesExecutor's. Set config.core.executor to \"KubernetesExecutor\", or to a list that contains it." $executor) -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.service" -}}
{{- with .Values.apiServer.service -}}
{{- if and .nodePort (eq .type "ClusterIP") -}}
{{- fail (printf "apiServer.service.nodePort is %v, but a Service of type ClusterIP has none. Set apiServer.service.type to NodePort, or take nodePort out." .nodePort) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.git-sync" -}}
{{- with .Values.dags.gitSync -}}
{{- if .enabled -}}
{{- if not .repo -}}
{{- fail "dags.gitSync.repo is not set. Name the repository that holds the DAGs, or set dags.gitSync.enabled to false to take them from the image." -}}
{{- end -}}
{{- if regexMatch "^[a-z+]+://[^/@]*:[^/@]*@" .repo -}}
{{- fail "dags.gitSync.repo contains a password. Put it in a Secret and set dags.gitSync.credentials.existingSecret to its name." -}}
{{- end -}}
{{- if and (eq (include "airflow-platform.git-sync.protocol" $) "ssh") (not .credentials.existingSecret) -}}
{{- fail (printf "dags.gitSync.repo (%s) is reached by ssh, which needs a key. Set dags.gitSync.credentials.existingSecret to a Secret whose key %q is the private key." .repo .credentials.sshKey) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.logs" -}}
{{- with .Values.logs.s3 -}}
{{- if regexMatch "[/:]" (.bucket | default "") -}}
{{- fail (printf "logs.s3.bucket is %q. Give the bucket's name alone, the path in it as logs.s3.prefix and a server's address as logs.s3.endpoint." .bucket) -}}
{{- end -}}
{{- if not .bucket -}}
{{- range $key := list "prefix" "endpoint" "existingSecret" -}}
{{- if get $.Values.logs.s3 $key -}}
{{- fail (printf "logs.s3.%s is set, but logs.s3.bucket is not: no log would be kept. Set logs.s3.bucket, or take logs.s3.%s out." $key $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.node-pools" -}}
{{- $seen := dict -}}
{{- range .Values.nodePools -}}
{{- if eq .name "default_pool" -}}
{{- fail "nodePools has a pool \"default_pool\": that one is Airflow's own, for tasks that name none. Give the node pool another name." -}}
{{- end -}}
{{- if hasKey $seen .name -}}
{{- fail (printf "nodePools has two pools named %q. Give one of them another name." .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- end -}}
{{- end -}}
