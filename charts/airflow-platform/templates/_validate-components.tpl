{{/* What cannot be together in the values of a component. Called from _validate.tpl. */}}

{{- define "airflow-platform.validate.components" -}}
{{- $celery := eq .Values.launcher.kind "celery" | ternary (dict "launcher.celery" .Values.launcher.celery) dict -}}
{{- $deployed := merge $celery (dict
  "apiServer" .Values.apiServer "scheduler" .Values.scheduler "dagProcessor" .Values.dagProcessor "triggerer" .Values.triggerer
) -}}
{{- $pgbouncer := .Values.pgbouncer.enabled | ternary (dict "pgbouncer" .Values.pgbouncer) dict -}}
{{- range $key, $values := merge $pgbouncer $deployed -}}
{{- range list "pod-counts" "disruption" "strategy" -}}
{{- include (printf "airflow-platform.validate.component-%s" .) (dict "root" $ "key" $key "values" $values) -}}
{{- end -}}
{{- end -}}
{{- range $key, $values := merge (dict "workers" .Values.workers "migrations" .Values.migrations "housekeeping" .Values.housekeeping "metrics" .Values.metrics) $pgbouncer $deployed -}}
{{- include "airflow-platform.validate.component-containers" (dict "root" $ "key" $key "values" $values) -}}
{{- include "airflow-platform.validate.component-volumes" (dict "root" $ "key" $key "values" $values) -}}
{{- include "airflow-platform.validate.component-labels" (dict "root" $ "key" (printf "%s.podLabels" $key) "labels" $values.podLabels) -}}
{{- end -}}
{{- include "airflow-platform.validate.component-labels" (dict "root" $ "key" "podLabels" "labels" .Values.podLabels) -}}
{{- include "airflow-platform.validate.worker-sets" . -}}
{{- end -}}

{{- define "airflow-platform.validate.worker-sets" -}}
{{- $default := (get .Values.config "operators" | default dict).default_queue | default "default" -}}
{{- $seen := dict -}}
{{- range .Values.workers.sets -}}
{{- if eq .queue $default -}}
{{- fail (printf "workers.sets has a set of the queue %q, which is that of tasks that name none: workers itself says what these get. Give the set another queue." .queue) -}}
{{- end -}}
{{- if hasKey $seen .queue -}}
{{- fail (printf "workers.sets has two sets of the queue %q. Give one of them another queue." .queue) -}}
{{- end -}}
{{- $_ := set $seen .queue true -}}
{{- include "airflow-platform.validate.component-labels" (dict "root" $ "key" (printf "workers.sets: set %q: podLabels" .queue) "labels" .podLabels) -}}
{{- end -}}
{{- end -}}

{{/* Each takes `root`, `key`, where the values are, and `values`. */}}
{{- define "airflow-platform.validate.component-pod-counts" -}}
{{- $key := .key -}}
{{- $values := .values -}}
{{- $enabled := list -}}
{{- range $name, $one := .values.autoscaling | default dict -}}
{{- if $one.enabled -}}
{{- $enabled = append $enabled (printf "%s.autoscaling.%s" $key $name) -}}
{{- if gt (int $one.minReplicas) (int $one.maxReplicas) -}}
{{- fail (printf "%s.autoscaling.%s.minReplicas is %v, more than its maxReplicas, %v. Lower the one or raise the other." $key $name $one.minReplicas $one.maxReplicas) -}}
{{- end -}}
{{- if and (eq $name "hpa") (not (dig "requests" "cpu" "" ($values.resources | default dict))) -}}
{{- fail (printf "%s.autoscaling.hpa scales by the CPU that pods use of what they request, but %s.resources.requests.cpu is not set. Set it." $key $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if gt (len $enabled) 1 -}}
{{- fail (printf "%s are both enabled, and would undo each other's work. Turn one of them off." (join " and " $enabled)) -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.component-disruption" -}}
{{- $name := printf "%s.podDisruptionBudget" .key -}}
{{- $budget := .values.podDisruptionBudget | default dict -}}
{{- $counts := include "airflow-platform.pod-counts" . | fromJson -}}
{{- if and $budget.enabled $counts.most -}}
{{- if and (hasKey $budget "minAvailable") (hasKey $budget "maxUnavailable") -}}
{{- fail (printf "%s has minAvailable and maxUnavailable, and Kubernetes takes one of them. Take the other out." $name) -}}
{{- end -}}
{{- if hasKey $budget "minAvailable" -}}
{{- $pods := max 1 (int $counts.least) -}}
{{- if ge (include "airflow-platform.share" (dict "amount" $budget.minAvailable "pods" $pods) | int) (int $pods) -}}
{{- fail (printf "%s.minAvailable is %v, and there may be no more than %d: no node with such a pod could be drained. Lower it, or have more pods." $name $budget.minAvailable $pods) -}}
{{- end -}}
{{- end -}}
{{- if and (hasKey $budget "maxUnavailable") (has (toString $budget.maxUnavailable) (list "0" "0%")) -}}
{{- fail (printf "%s.maxUnavailable is %v: no node with such a pod could be drained. Set 1 or more, or take it out." $name $budget.maxUnavailable) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.component-strategy" -}}
{{- $strategy := .values.strategy | default dict -}}
{{- if eq ($strategy.type | default "RollingUpdate") "RollingUpdate" -}}
{{- with $strategy.rollingUpdate -}}
{{- if and (has (toString .maxSurge) (list "0" "0%")) (has (toString .maxUnavailable) (list "0" "0%")) -}}
{{- fail (printf "%s.strategy.rollingUpdate has neither maxSurge nor maxUnavailable, so no pod could ever be replaced. Raise one of them." $.key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.component-containers" -}}
{{- $key := .key -}}
{{- $seen := dict -}}
{{- $more := dict "pgbouncer" (list "credentials" "pgbouncer" "exporter") "metrics" (list "exporter" "monitor") "migrations" (list "fetch-backup" "restore" "copy-certificates") -}}
{{- range concat (get $more $key | default list) (list "api-server" "scheduler" "dag-processor" "triggerer" "launcher" "base" "migrations" "dag-guard"
  "wait-for-migrations" "wait-for-api-server" "generate-secrets" "housekeeping" "prepare-backup" "dump" "store-backup" "git-sync" "git-sync-once") -}}
{{- $_ := set $seen . "the chart" -}}
{{- end -}}
{{- range $list := list "extraInitContainers" "extraContainers" -}}
{{- range get $.values $list | default list -}}
{{- with get $seen .name -}}
{{- fail (printf "%s.%s has a container of a name that %s has taken. Give it another name." $key $list .) -}}
{{- end -}}
{{- $_ := set $seen .name (printf "%s.%s" $key $list) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.component-volumes" -}}
{{- $key := .key -}}
{{- $chart := list "config" "logs" "tmp" "dags" "git-tmp" "git-credentials" "git-ca" "token" "declared" "accepted" "backup" "connection" -}}
{{- $chart = concat $chart (get (dict "pgbouncer" (list "credentials") "metrics" (list "mapping" "expiring") "scheduler" (list "worker-pod")) $key | default list) -}}
{{- $broker := and (has $key (list "scheduler" "launcher.celery")) (include "airflow-platform.broker.ca-cert" (dict "root" .root "broker" true)) -}}
{{- if $broker }}{{ $chart = append $chart "broker-ca" }}{{ end -}}
{{- $certificates := .root.Values.database.sslRootCert.existingSecret -}}
{{- if $certificates }}{{ $chart = append $chart "database-ca" }}{{ end -}}
{{- $volumes := list "logs" "tmp" -}}
{{- range .values.extraVolumes -}}
{{- if has .name $chart -}}
{{- fail (printf "%s.extraVolumes has a volume named %q, which is the chart's own. Give it another name." $key .name) -}}
{{- end -}}
{{- if has .name $volumes -}}
{{- fail (printf "%s.extraVolumes has two volumes named %q. Give one of them another name." $key .name) -}}
{{- end -}}
{{- $volumes = append $volumes .name -}}
{{- end -}}
{{- $paths := list "/etc/airflow-platform" "/opt/airflow/logs" "/tmp" "/etc/airflow-platform-declared" "/accepted" .root.Values.dags.gitSync.root -}}
{{- $more := dict "scheduler" (list (include "airflow-platform.pod-template.path" .root)) "metrics" (list "/etc/airflow-platform-expiring") "migrations" (list "/backup" "/connection") -}}
{{- $paths = concat $paths (get $more $key | default list) -}}
{{- if has $key (list "apiServer" "scheduler" "triggerer" "launcher.celery" "workers") }}{{ $paths = append $paths "/var/run/secrets/kubernetes.io/serviceaccount" }}{{ end -}}
{{- if $certificates }}{{ $paths = append $paths "/etc/database-ca" }}{{ end -}}
{{- if $broker }}{{ $paths = append $paths "/etc/broker-ca" }}{{ end -}}
{{- range .values.extraVolumeMounts -}}
{{- if not (has .name $volumes) -}}
{{- fail (printf "%s.extraVolumeMounts mounts the volume %q, which %s.extraVolumes does not have. Add it there." $key .name $key) -}}
{{- end -}}
{{- $path := trimSuffix "/" .mountPath -}}
{{- if has $path $paths -}}
{{- fail (printf "%s.extraVolumeMounts mounts the volume %q at %s, where something else is mounted. Choose another path." $key .name $path) -}}
{{- end -}}
{{- $paths = append $paths $path -}}
{{- end -}}
{{- end -}}

{{/* Takes `root`, `key` and `labels`. */}}
{{- define "airflow-platform.validate.component-labels" -}}
{{- $own := include "airflow-platform.selector-labels" (dict "root" .root "component" "") | fromYaml -}}
{{- range $label, $_ := .labels | default dict -}}
{{- if hasKey $own $label -}}
{{- fail (printf "%s has %s, by which the chart's objects find their pods. Take it out." $.key $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The api-server's end: Kubernetes kills a pod whose time is over. */}}
{{- define "airflow-platform.validate.pre-stop" -}}
{{- with .Values.apiServer -}}
{{- if and .preStopSleepSeconds (le (int .terminationGracePeriodSeconds) (int .preStopSleepSeconds)) -}}
{{- fail (printf "apiServer.terminationGracePeriodSeconds is %v, and apiServer.preStopSleepSeconds alone takes %v: a pod would be killed with requests in it. Raise the first or lower the second." .terminationGracePeriodSeconds .preStopSleepSeconds) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Where browsers reach the api-server, and where Airflow sends them. */}}
{{- define "airflow-platform.validate.routes" -}}
{{- $url := .Values.apiServer.baseUrl -}}
{{- range $route, $list := dict "ingress" "hosts" "httpRoute" "hostnames" -}}
{{- $values := get $.Values.apiServer $route -}}
{{- if $values.enabled -}}
{{- if not $url -}}
{{- fail (printf "apiServer.%s is enabled, but apiServer.baseUrl is not set, and Airflow would send browsers elsewhere. Set it to the address that they use, such as https://airflow.example.com." $route) -}}
{{- end -}}
{{- $host := include "airflow-platform.base-url.host" $ -}}
{{- if regexMatch "^[0-9.]+$|:" $host -}}
{{- fail (printf "apiServer.baseUrl has the address %s, but apiServer.%s goes by the name of a host. Name one in apiServer.baseUrl." $host $route) -}}
{{- end -}}
{{- $hosts := get $values $list -}}
{{- if and $hosts (not (has $host $hosts)) -}}
{{- fail (printf "apiServer.baseUrl has the host %s, which is not among apiServer.%s.%s (%s), and Airflow would send browsers there. Add it, or change apiServer.baseUrl." $host $route $list (join ", " $hosts)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.apiServer.httpRoute.enabled (not .Values.apiServer.httpRoute.parentRefs) -}}
{{- fail "apiServer.httpRoute is enabled, but apiServer.httpRoute.parentRefs is not set, so no Gateway takes the route. Name one, as [{name: …, namespace: …}]." -}}
{{- end -}}
{{- with .Values.apiServer.ingress -}}
{{- if and .enabled .tls -}}
{{- if hasPrefix "http://" $url -}}
{{- fail "apiServer.ingress.tls is set, but apiServer.baseUrl begins with http://, and Airflow would send browsers there. Write https://, or take apiServer.ingress.tls out." -}}
{{- end -}}
{{- $hosts := .hosts | default (list (include "airflow-platform.base-url.host" $)) -}}
{{- range $tls := .tls -}}
{{- range $tls.hosts -}}
{{- if not (has . $hosts) -}}
{{- fail (printf "apiServer.ingress.tls names the host %s, which the Ingress does not have. Add it to apiServer.ingress.hosts, or take it out." .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
