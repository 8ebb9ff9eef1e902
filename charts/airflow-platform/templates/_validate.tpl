{{/*
Combinations of values that the schema cannot judge. Each stops the render with a sentence: what is wrong, what to change.
*/}}
{{- define "airflow-platform.validate" -}}
{{- range list
  "release" "database" "pgbouncer" "backup" "image" "generated-keys" "admin" "secrets-in-config" "chart-options" "executor" "launcher" "components"
  "pre-stop" "service" "routes" "dags" "git-sync" "logs" "task-namespaces" "cluster-rights" "node-pools" "kueue"
  "declared" "auth" "secrets-backend" "external-secrets" "bundles" "dag-guard"
  "network-policies" "admission-policy"
  "metrics"
-}}
{{- include (printf "airflow-platform.validate.%s" .) $ -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.release" -}}
{{- $name := include "airflow-platform.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "%q begins the names of all objects, and a Service's name must begin with a letter and hold only a-z, 0-9 and \"-\". Choose another name of the release, or set fullnameOverride." $name) -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.database" -}}
{{- if not .Values.database.existingSecret -}}
{{- fail "database.existingSecret is not set. Create a Secret whose key \"url\" is postgresql://user:password@host:5432/name, and set database.existingSecret to its name: the chart brings no database." -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.pgbouncer" -}}
{{- with .Values.database -}}
{{- if and .sslRootCert.existingSecret (not .sslMode) -}}
{{- fail "database.sslRootCert.existingSecret is set, but database.sslMode is not, so nothing would be checked by it. Set database.sslMode to verify-full, or take the Secret out." -}}
{{- end -}}
{{- end -}}
{{- with .Values.pgbouncer -}}
{{- if .enabled -}}
{{- range $option, $instead := dict
  "default_pool_size" "Set pgbouncer.poolSize." "max_client_conn" "Set pgbouncer.maxClientConnections."
  "server_tls_sslmode" "Set database.sslMode." "server_tls_ca_file" "Set database.sslRootCert."
  "listen_port" "It is the container's own; take it out." "auth_file" "It is the pod's own; take it out."
-}}
{{- if hasKey $.Values.pgbouncer.config $option -}}
{{- fail (printf "pgbouncer.config.%s is set by the chart. %s" $option $instead) -}}
{{- end -}}
{{- end -}}
{{- range $option, $value := .config -}}
{{- if or (contains "\n" (toString $value)) (not (regexMatch "^[a-z0-9_]+$" $option)) -}}
{{- fail (printf "pgbouncer.config.%s is no single option of PgBouncer's. Give each a name of a-z, 0-9 and \"_\", and a value of one line." $option) -}}
{{- end -}}
{{- end -}}
{{- if and .preStopSleepSeconds (le (int .terminationGracePeriodSeconds) (int .preStopSleepSeconds)) -}}
{{- fail (printf "pgbouncer.terminationGracePeriodSeconds is %v, and pgbouncer.preStopSleepSeconds alone takes %v: a pod would be killed with transactions in it. Raise the first or lower the second." .terminationGracePeriodSeconds .preStopSleepSeconds) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.backup" -}}
{{- with .Values.backup -}}
{{- if .enabled -}}
{{- if not .s3.bucket -}}
{{- fail "backup.enabled is true, but backup.s3.bucket is not set. Name a bucket for dumps of the database." -}}
{{- end -}}
{{- if eq .s3.bucket $.Values.logs.s3.bucket -}}
{{- fail (printf "backup.s3.bucket is that of the logs, %q, which the pods of workers can read: a dump holds all that the database does. Name another." .s3.bucket) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.image" -}}
{{- range $key, $image := dict "image" .Values.image "dags.gitSync.image" .Values.dags.gitSync.image
  "backup.image" .Values.backup.image "pgbouncer.image" .Values.pgbouncer.image "pgbouncer.exporter.image" .Values.pgbouncer.exporter.image
  "metrics.exporter.image" .Values.metrics.exporter.image -}}
{{- if and (not $image.digest) (eq (toString $image.tag) "latest") -}}
{{- fail (printf "%s.tag is \"latest\", which says nothing of what runs. Set %s.tag to a version, or %s.digest." $key $key $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.cluster-rights" -}}
{{- if and .Values.readPods (not .Values.readNodes) -}}
{{- fail "readPods is true, but readNodes is false: without the nodes, what is free on them cannot be told. Set readNodes to true, or readPods to false." -}}
{{- end -}}
{{- end -}}

{{/* One Secret holds them all: of two values with one key, one would be lost. */}}
{{- define "airflow-platform.validate.generated-keys" -}}
{{- $seen := dict -}}
{{- range $value := list "fernetKey" "apiSecretKey" "jwtSecret" "pgbouncer" "admin" -}}
{{- $secret := get $.Values $value -}}
{{- if not (or $secret.existingSecret (and (hasKey $secret "enabled") (not $secret.enabled))) -}}
{{- with get $seen $secret.secretKey -}}
{{- fail (printf "%s.secretKey and %s.secretKey are both %q, and both values are generated in one Secret. Give them different keys." . $value $secret.secretKey) -}}
{{- end -}}
{{- $_ := set $seen $secret.secretKey $value -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.admin" -}}
{{- $manager := (get .Values.config "core" | default dict).auth_manager | default "" | toString -}}
{{- if and .Values.admin.enabled (not (hasSuffix ".FabAuthManager" $manager)) -}}
{{- fail (printf "admin.enabled is true, but config.core.auth_manager is %q, and only FabAuthManager's users can be made. Set admin.enabled to false." $manager) -}}
{{- end -}}
{{- end -}}

{{/*
Options that Airflow 3.3 marks sensitive (config.yml of core, get_provider_info of providers), and whatever is named like a
secret. `<option>_secret` names a sensitive option's place in a secrets backend, and is none itself.
*/}}
{{- define "airflow-platform.validate.secrets-in-config" -}}
{{- $values := dict
  "core.fernet_key" "fernetKey.existingSecret"
  "database.sql_alchemy_conn" "database.existingSecret"
  "database.sql_alchemy_conn_async" "database.existingSecret"
  "api.secret_key" "apiSecretKey.existingSecret"
  "api_auth.jwt_secret" "jwtSecret.existingSecret"
  "celery.broker_url" "launcher.celery.broker.existingSecret"
  "secrets.backend_kwargs" "secretsBackend.existingSecret"
-}}
{{- $sensitive := concat (keys $values) (list
  "atlas.password" "celery.flower_basic_auth" "celery.result_backend"
  "celery_broker_transport_options.sentinel_kwargs" "celery_result_backend_transport_options.sentinel_kwargs"
  "core.asset_manager_kwargs" "core.sql_alchemy_conn" "database.sql_alchemy_engine_args"
  "logging.remote_task_handler_kwargs" "opensearch.password" "sentry.sentry_dsn"
  "smtp.smtp_password" "webserver.secret_key" "workers.secrets_backend_kwargs"
) -}}
{{- $harmless := list "logging.min_length_masked_secret" -}}
{{- range $section, $options := .Values.config -}}
{{- range $option, $value := $options -}}
{{- $name := printf "%s.%s" $section $option | lower -}}
{{- $place := and (hasSuffix "_secret" $name) (has (trimSuffix "_secret" $name) $sensitive) -}}
{{- if and $value (not $place) (not (has $name $harmless)) (or (has $name $sensitive) (regexMatch "(password|secret|token|dsn)$" $name)) -}}
{{- $instead := printf "give it by extraEnv as %s, with valueFrom.secretKeyRef" (printf "AIRFLOW__%s__%s" $section $option | upper) -}}
{{- with get $values $name -}}{{- $instead = printf "set %s to its name" . -}}{{- end -}}
{{- fail (printf "config.%s.%s would write a secret to a ConfigMap. Put it in a Secret and %s." $section $option $instead) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the chart owns: another value would break a release that renders. */}}
{{- define "airflow-platform.validate.chart-options" -}}
{{- range $option, $why := dict
  "api.port" "is the container's own. Set apiServer.service.port to change the port that clients use."
  "api.ssl_cert" "would have the api-server speak TLS, which its probes, Service and launchers do not. Take it out: TLS ends at apiServer.ingress or httpRoute."
  "api.ssl_key" "would have the api-server speak TLS, which its probes, Service and launchers do not. Take it out: TLS ends at apiServer.ingress or httpRoute."
  "database.sql_alchemy_schema" "is a schema that migrations alone would know of. Take it out, and give it to the database's user: ALTER ROLE airflow SET search_path = …"
  "logging.trigger_log_server_port" "is the container's own, which Services and NetworkPolicies name. Take it out."
  "logging.worker_log_server_port" "is the container's own, which Services and NetworkPolicies name. Take it out."
  "kubernetes_executor.namespace" "is the chart's own: the scheduler may create worker pods in the release's namespace alone. Take it out; namespaces of task pods are tasks.namespaces."
  "kubernetes_executor.multi_namespace_mode" "is the chart's own: the scheduler may create worker pods in the release's namespace alone. Take it out; namespaces of task pods are tasks.namespaces."
  "kubernetes_executor.multi_namespace_mode_namespace_list" "is the chart's own: the scheduler may create worker pods in the release's namespace alone. Take it out; namespaces of task pods are tasks.namespaces."
  "kubernetes_executor.pod_template_file" "is the chart's own. Take it out, and set workers.* to change the pods of workers."
-}}
{{- $path := splitList "." $option -}}
{{- if hasKey (get $.Values.config (first $path) | default dict) (last $path) -}}
{{- fail (printf "config.%s %s" $option $why) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The chart's own, unless the user sets another. */}}
{{- define "airflow-platform.validate.executor" -}}
{{- $core := get .Values.config "core" | default dict -}}
{{- if hasKey $core "executor" -}}
{{- $executor := $core.executor | default "" | toString -}}
{{- $kind := .Values.launcher.kind -}}
{{- if not (regexMatch "(^|[,;:=.\\s])KubernetesExecutor\\s*($|[,;])" $executor) -}}
{{- fail (printf "config.core.executor is %q, but tasks other than a launcher's run in KubernetesExecutor's workers alone. Take config.core.executor out, or set it to a list that contains \"KubernetesExecutor\"." $executor) -}}
{{- end -}}
{{- $launcher := regexFind "(^|[,;=\\s])launcher:[^,;]*" $executor -}}
{{- if and (ne $kind "none") (not $launcher) -}}
{{- fail (printf "config.core.executor is %q, which has no \"launcher:…\", but launcher.kind is %q. Take config.core.executor out, add %q to it, or set launcher.kind to \"none\"." $executor $kind (include "airflow-platform.executor" . | trimPrefix "KubernetesExecutor,")) -}}
{{- end -}}
{{- range $other, $class := include "airflow-platform.launcher-classes" . | fromYaml -}}
{{- if and (ne $kind $other) (hasSuffix $class (trim $launcher)) -}}
{{- fail (printf "config.core.executor has the launcher of kind %q, but launcher.kind is %q. Take config.core.executor out, or set launcher.kind to %q." $other $kind $other) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.launcher" -}}
{{- $celery := .Values.launcher.celery -}}
{{- if eq .Values.launcher.kind "celery" -}}
{{- if not $celery.broker.existingSecret -}}
{{- fail (printf "launcher.kind is \"celery\", but launcher.celery.broker.existingSecret is not set. Create a Secret whose key %q is redis://:password@host:6379/0, and set launcher.celery.broker.existingSecret to its name: the chart brings no broker." $celery.broker.secretKey) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.service" -}}
{{- with .Values.apiServer.service -}}
{{- if and .nodePort (eq .type "ClusterIP") -}}
{{- fail (printf "apiServer.service.nodePort is %v, but a Service of type ClusterIP has none. Set apiServer.service.type to NodePort, or take nodePort out." .nodePort) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.dags" -}}
{{- if has ".." (splitList "/" (.Values.dags.subPath | default "")) -}}
{{- fail (printf "dags.subPath is %q, which leaves the repository. Name a folder in it." .Values.dags.subPath) -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.git-sync" -}}
{{- with .Values.dags.gitSync -}}
{{- if .enabled -}}
{{- if not .repo -}}
{{- fail "dags.gitSync.repo is not set. Name the repository that holds the DAGs, or set dags.gitSync.enabled to false to take them from the image." -}}
{{- end -}}
{{- /* The address is not repeated where it may hold a secret. */ -}}
{{- if or (regexMatch "^https?://.*@" .repo) (regexMatch "^[A-Za-z+]+://[^/]*:[^/]*@" .repo) -}}
{{- fail "dags.gitSync.repo contains a user, a password or a token. Put them in a Secret and set dags.gitSync.credentials.existingSecret to its name." -}}
{{- end -}}
{{- if not (regexMatch "^(https?|ssh|git|file)://.|^[^/@:]+@[^/@:]+:." .repo) -}}
{{- fail "dags.gitSync.repo is no address of a repository. Write https://…, ssh://…, git://…, file://… or user@host:path." -}}
{{- end -}}
{{- if or (regexMatch "^/(tmp|opt/airflow|opt/python|etc|usr|bin|sbin|lib|lib64|var|run|dev|proc|sys)(/|$)|^/opt$" .root) (regexMatch "/\\.{1,2}(/|$)" .root) -}}
{{- fail (printf "dags.gitSync.root is %q, which would hide what the containers have there. Choose a folder of its own, such as /git." .root) -}}
{{- end -}}
{{- if and (eq (include "airflow-platform.git-sync.protocol" .repo) "ssh") (not .credentials.existingSecret) -}}
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

{{- define "airflow-platform.validate.task-namespaces" -}}
{{- $namespaces := .Values.tasks.namespaces | default list -}}
{{- if not $namespaces -}}
{{- fail "tasks.namespaces is not set. Name the namespaces where tasks create their pods; they must exist." -}}
{{- end -}}
{{- if has .Release.Namespace $namespaces -}}
{{- fail (printf "tasks.namespaces has the release's own namespace, %q: a task's pod could mount the platform's Secrets there. Name another." .Release.Namespace) -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.node-pools" -}}
{{- $seen := dict -}}
{{- range .Values.nodePools -}}
{{- if not (regexMatch "^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$" .name) -}}
{{- fail (printf "nodePools has a pool named %q. Use up to 63 of a-z, A-Z, 0-9, \"-\", \"_\" and \".\", the first and the last a letter or a digit." .name) -}}
{{- end -}}
{{- if eq .name "default_pool" -}}
{{- fail "nodePools has a pool \"default_pool\": that one is Airflow's own, for tasks that name none. Give the node pool another name." -}}
{{- end -}}
{{- if hasKey $seen .name -}}
{{- fail (printf "nodePools has two pools named %q. Give one of them another name." .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- include "airflow-platform.validate.node-pool" (dict "root" $ "pool" .) -}}
{{- end -}}
{{- include "airflow-platform.validate.node-pool-objects" $ -}}
{{- end -}}

{{/* Amounts of one pool that cannot be together. Takes `root` and `pool`. */}}
{{- define "airflow-platform.validate.node-pool" -}}
{{- $pool := .pool -}}
{{- $name := printf "nodePools: pool %q" $pool.name -}}
{{- $largest := $pool.largest | default dict -}}
{{- $requests := dig "resources" "requests" dict $pool | default dict -}}
{{- $limits := dig "resources" "limits" dict $pool | default dict -}}
{{- range $resource, $request := $requests -}}
{{- $limit := get $limits $resource -}}
{{- if and (not (has $resource (list "cpu" "memory" "ephemeral-storage"))) (ne (toString $limit) (toString $request)) -}}
{{- fail (printf "%s has resources.requests of %s, which Kubernetes gives whole or not at all. Set resources.limits of it to the same." $name $resource) -}}
{{- end -}}
{{- if and (hasKey $limits $resource) (include "airflow-platform.exceeds" (list $request $limit)) -}}
{{- fail (printf "%s has resources.requests.%s of %v, more than its resources.limits.%s, %v. Lower the one or raise the other." $name $resource $request $resource $limit) -}}
{{- end -}}
{{- end -}}
{{- range $part, $quantities := dict "requests" $requests "limits" $limits -}}
{{- range $resource, $quantity := $quantities -}}
{{- if and (hasKey $largest $resource) (include "airflow-platform.exceeds" (list $quantity (get $largest $resource))) -}}
{{- fail (printf "%s has resources.%s.%s of %v, more than its largest.%s, %v: no task could run with its defaults. Lower the one or raise the other." $name $part $resource $quantity $resource (get $largest $resource)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $key, $hard := $pool.quota -}}
{{- $part := hasPrefix "limits." $key | ternary "limits" "requests" -}}
{{- $resource := $key | trimPrefix "requests." | trimPrefix "limits." -}}
{{- $default := get (eq $part "limits" | ternary $limits (merge (dict) $requests $limits)) $resource -}}
{{- if and (has $resource (list "cpu" "memory")) (not (toString $default)) -}}
{{- $why := $.root.Values.kueue.enabled | ternary "Kueue counts nothing for a container that sets none" "Kubernetes refuses a pod in which a container sets none" -}}
{{- fail (printf "%s has a quota of %s, so %s. Set resources.%s.%s of the pool, for containers that do not." $name $key $why $part $resource) -}}
{{- end -}}
{{- range $what, $quantity := dict "resources" $default "largest" (eq $part "requests" | ternary (get $largest $resource) "") -}}
{{- if and (toString $quantity) (include "airflow-platform.exceeds" (list $quantity $hard)) -}}
{{- fail (printf "%s has a quota of %v %s, less than its %s gives one task, %v: such a task would never run. Lower the one or raise the other." $name $hard $key $what $quantity) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Kueue admits by what pods request, and shares a quota out to namespaces. */}}
{{- define "airflow-platform.validate.kueue" -}}
{{- $installed := .Capabilities.APIVersions.Has "kueue.x-k8s.io/v1beta2" -}}
{{- /* A cluster serves the API of API services; "helm template" alone knows no cluster. */ -}}
{{- if and .Values.kueue.enabled (.Capabilities.APIVersions.Has "apiregistration.k8s.io/v1") (not $installed) -}}
{{- fail "kueue.enabled is true, but the cluster does not serve kueue.x-k8s.io/v1beta2. Install Kueue 0.15 or later first (docs/node-pools.md says with which configuration), or set kueue.enabled to false." -}}
{{- end -}}
{{- range $pool := .Values.nodePools -}}
{{- $name := printf "nodePools: pool %q" .name -}}
{{- if and .shares (not $.Values.kueue.enabled) -}}
{{- fail (printf "%s has shares, which Kueue alone keeps. Set kueue.enabled to true, or take shares out." $name) -}}
{{- end -}}
{{- if and .shares (not .quota) -}}
{{- fail (printf "%s has shares, but no quota that they could be of. Set its quota, or take shares out." $name) -}}
{{- end -}}
{{- range $namespace, $_ := .shares -}}
{{- if not (has $namespace $.Values.tasks.namespaces) -}}
{{- fail (printf "%s has a share of namespace %q, which is none of tasks.namespaces (%s). Correct its name, or add it there." $name $namespace (join ", " $.Values.tasks.namespaces)) -}}
{{- end -}}
{{- end -}}
{{- if $.Values.kueue.enabled -}}
{{- range $key, $_ := .quota -}}
{{- if hasPrefix "limits." $key -}}
{{- fail (printf "%s has a quota of %s, and Kueue counts requests alone. Set quota.%s instead." $name $key (replace "limits." "requests." $key)) -}}
{{- end -}}
{{- if and (hasPrefix "requests." $key) (hasKey $pool.quota (trimPrefix "requests." $key)) -}}
{{- fail (printf "%s has a quota of %s and of %s, which are the same. Take one of them out." $name $key (trimPrefix "requests." $key)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* "true" where the first of two quantities is more than the second, else nothing. */}}
{{- define "airflow-platform.exceeds" -}}
{{- if gt (include "airflow-platform.amount" (first .) | float64) (include "airflow-platform.amount" (last .) | float64) }}true{{ end -}}
{{- end -}}

{{- define "airflow-platform.validate.node-pool-objects" -}}
{{- $seen := dict -}}
{{- range $pool := .Values.nodePools -}}
{{- with include "airflow-platform.priority-class.name" (dict "root" $ "pool" .) -}}
{{- if hasPrefix "system-" . -}}
{{- fail (printf "nodePools: a PriorityClass would be named %q, and Kubernetes keeps names that begin with \"system-\" to itself. Install the release in another namespace, or take priorityClass and quota out." .) -}}
{{- end -}}
{{- end -}}
{{- if or .priorityClass .quota -}}
{{- $own := include "airflow-platform.node-pool.object-name" . -}}
{{- with get $seen $own -}}
{{- fail (printf "nodePools: the objects of the pools %q and %q would both be named %q, as such names hold only a-z, 0-9 and \"-\". Give one of the pools another name." . $pool.name $own) -}}
{{- end -}}
{{- $_ := set $seen $own .name -}}
{{- end -}}
{{- end -}}
{{- end -}}
