{{/*
NetworkPolicies: what each pod may reach, and who may reach it. A destination is a key of `networkPolicies.egress`; one whose
`to` is empty is anywhere but a cloud's metadata address, which hands out the node's own credentials.
*/}}

{{/*
A component's policy. Takes `root`, `component`, `key` (its place in the values), `ingress` (rules), `egress` (destinations) and
`gitSync`, whether git-sync runs beside it.
*/}}
{{- define "airflow-platform.networkpolicy" -}}
{{- $policies := .root.Values.networkPolicies -}}
{{- if $policies.enabled -}}
{{- $extra := get ($policies.extra | default dict) .key | default dict -}}
{{- $ingress := concat (.ingress | default list) ($extra.ingress | default list) -}}
{{- $egress := list -}}
{{- $metrics := .root.Values.metrics -}}
{{- if $metrics.enabled }}{{ $egress = include "airflow-platform.network.destination" (dict "root" .root "name" "metrics") | fromJsonArray }}{{ end -}}
{{- if and .gitSync $metrics.enabled .root.Values.dags.gitSync.enabled -}}
{{- $ingress = append $ingress (include "airflow-platform.network.scraped" (dict "root" .root "names" (list "git-sync")) | fromJson) -}}
{{- end -}}
{{- $destinations := .egress | default list -}}
{{- if include "airflow-platform.network.sends-telemetry" . }}{{ $destinations = append $destinations "telemetry" }}{{ end -}}
{{- if include "airflow-platform.network.sends-statsd" . }}{{ $destinations = append $destinations "statsd" }}{{ end -}}
{{- range uniq $destinations -}}
{{- $egress = concat $egress (include "airflow-platform.network.destination" (dict "root" $.root "name" .) | fromJsonArray) -}}
{{- end -}}
{{- $egress = concat $egress ($extra.egress | default list) -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include (printf "airflow-platform.%s.name" .component) .root }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "airflow-platform.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "airflow-platform.selector-labels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- with $ingress }}
  ingress:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  egress:
    {{- toYaml $egress | nindent 4 }}
{{- end -}}
{{- end -}}

{{/* Not empty where a component sends to an OpenTelemetry collector. Takes `root` and `component`. */}}
{{- define "airflow-platform.network.sends-telemetry" -}}
{{- include "airflow-platform.network.sends" (dict "to" . "options" (dict "metrics" (list "otel_on") "traces" (list "otel_on"))) -}}
{{- end -}}

{{/* The same of a StatsD server that is not the chart's. */}}
{{- define "airflow-platform.network.sends-statsd" -}}
{{- include "airflow-platform.network.sends" (dict "to" . "options" (dict "metrics" (list "statsd_on" "statsd_datadog_enabled"))) -}}
{{- end -}}

{{/* Not empty where one of these options, by section, is on, and a component is one that has metrics. */}}
{{- define "airflow-platform.network.sends" -}}
{{- $root := .to.root -}}
{{- if has .to.component (list "api-server" "scheduler" "dag-processor" "dag-guard" "triggerer" "launcher" "worker") -}}
{{- range $section, $names := .options -}}
{{- range $names -}}
{{- if eq "true" (get $root.Values.config $section | default dict | dig . false | toString | lower) }}true{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Egress rules of a destination, as a JSON list. Takes `root`, `name` and `tasks`, whether it is for the pods of tasks: where
they reach anything, the addresses of database, broker and Kubernetes are left out as far as the values name them.
*/}}
{{- define "airflow-platform.network.destination" -}}
{{- $rules := list -}}
{{- if eq .name "apiServer" -}}
{{- $to := list (include "airflow-platform.network.pods" (dict "root" .root "component" "api-server") | fromJson) -}}
{{- $rules = list (dict "to" $to "ports" (include "airflow-platform.network.ports" (list 8080) | fromJsonArray)) -}}
{{- else if eq .name "pgbouncer" -}}
{{- $to := list (include "airflow-platform.network.pods" (dict "root" .root "component" "pgbouncer") | fromJson) -}}
{{- $rules = list (dict "to" $to "ports" (include "airflow-platform.network.ports" (list 6432) | fromJsonArray)) -}}
{{- else if eq .name "metrics" -}}
{{- $to := list (include "airflow-platform.network.pods" (dict "root" .root "component" "metrics") | fromJson) -}}
{{- $port := (include "airflow-platform.metrics.ports" .root | fromYaml).statsd -}}
{{- $rules = list (dict "to" $to "ports" (include "airflow-platform.network.ports" (list $port (list "UDP")) | fromJsonArray)) -}}
{{- else if eq .name "statsd" -}}
{{- $to := .root.Values.networkPolicies.egress.telemetry.to | default (include "airflow-platform.network.anywhere" . | fromJsonArray) -}}
{{- $port := get .root.Values.config "metrics" | dig "statsd_port" 8125 -}}
{{- $rules = list (dict "to" $to "ports" (include "airflow-platform.network.ports" (list $port (list "UDP")) | fromJsonArray)) -}}
{{- else if eq .name "expiring" -}}
{{- $ports := list -}}
{{- range .root.Values.metrics.expiring.addresses }}{{ $ports = append $ports (splitList ":" . | last | int) }}{{ end -}}
{{- $to := include "airflow-platform.network.anywhere" . | fromJsonArray -}}
{{- $rules = list (dict "to" $to "ports" (include "airflow-platform.network.ports" (uniq $ports) | fromJsonArray)) -}}
{{- else if eq .name "issuer" -}}
{{- $port := include "airflow-platform.network.port" .root.Values.auth.oidc.issuer | int -}}
{{- $to := include "airflow-platform.network.anywhere" . | fromJsonArray -}}
{{- $rules = list (dict "to" $to "ports" (include "airflow-platform.network.ports" (list $port) | fromJsonArray)) -}}
{{- else if eq .name "guard" -}}
{{- $to := list (include "airflow-platform.network.pods" (dict "root" .root "component" "dag-guard") | fromJson) -}}
{{- $rules = list (dict "to" $to "ports" (include "airflow-platform.network.ports" (list 9418) | fromJsonArray)) -}}
{{- else if eq .name "logServers" -}}
{{- range $component, $port := include "airflow-platform.network.log-servers" .root | fromJson -}}
{{- $to := list (include "airflow-platform.network.pods" (dict "root" $.root "component" $component) | fromJson) -}}
{{- $rules = append $rules (dict "to" $to "ports" (include "airflow-platform.network.ports" (list $port) | fromJsonArray)) -}}
{{- end -}}
{{- else -}}
{{- $values := get .root.Values.networkPolicies.egress .name -}}
{{- $ports := $values.ports | default list -}}
{{- if not $ports }}{{ $ports = include (printf "airflow-platform.network.%s-ports" .name) . | fromJsonArray }}{{ end -}}
{{- $to := $values.to | default list -}}
{{- if and (not $to) (ne .name "identity") }}{{ $to = include "airflow-platform.network.anywhere" . | fromJsonArray }}{{ end -}}
{{- if and $to $ports -}}
{{- $protocols := eq .name "dns" | ternary (list "UDP" "TCP") (list "TCP") -}}
{{- $rules = list (dict "to" $to "ports" (include "airflow-platform.network.ports" (append $ports $protocols) | fromJsonArray)) -}}
{{- end -}}
{{- end -}}
{{- toJson $rules -}}
{{- end -}}

{{/* Ports as a JSON list. Takes a list of numbers and, as its last, the list of protocols; without one: TCP. */}}
{{- define "airflow-platform.network.ports" -}}
{{- $protocols := kindIs "slice" (last .) | ternary (last .) (list "TCP") -}}
{{- $ports := list -}}
{{- range . -}}
{{- if not (kindIs "slice" .) -}}
{{- $port := int . -}}
{{- range $protocols }}{{ $ports = append $ports (dict "protocol" . "port" $port) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toJson $ports -}}
{{- end -}}

{{/* A component's pods, in the release's namespace, as a JSON peer. Takes `root` and `component`. */}}
{{- define "airflow-platform.network.pods" -}}
{{- dict "podSelector" (dict "matchLabels" (include "airflow-platform.selector-labels" . | fromYaml)) | toJson -}}
{{- end -}}

{{/* Components that serve the logs of what runs in them, and their ports, as a JSON map. */}}
{{- define "airflow-platform.network.log-servers" -}}
{{- $servers := dict "triggerer" 8794 -}}
{{- if eq .Values.launcher.kind "local" }}{{ $_ := set $servers "scheduler" 8793 }}{{ end -}}
{{- if and (eq .Values.launcher.kind "celery") .Values.launcher.celery.serveLogs }}{{ $_ := set $servers "launcher" 8793 }}{{ end -}}
{{- toJson $servers -}}
{{- end -}}

{{/* Ingress rules of such a component, as a JSON list: the api-server shows its logs. Takes `root` and `component`. */}}
{{- define "airflow-platform.network.log-server" -}}
{{- $rules := list -}}
{{- with get (include "airflow-platform.network.log-servers" .root | fromJson) .component -}}
{{- $from := list (include "airflow-platform.network.pods" (dict "root" $.root "component" "api-server") | fromJson) -}}
{{- $rules = list (dict "from" $from "ports" (include "airflow-platform.network.ports" (list .) | fromJsonArray)) -}}
{{- end -}}
{{- toJson $rules -}}
{{- end -}}

{{/*
Anywhere but a cloud's metadata address, as a JSON list of peers. Networks differ in whether an address range takes in the
cluster's own pods, so these are named too. Takes `root` and `tasks`.
*/}}
{{- define "airflow-platform.network.anywhere" -}}
{{- $four := list "169.254.169.254/32" -}}
{{- $six := list "fd00:ec2::254/128" -}}
{{- if .tasks -}}
{{- range $name := list "database" "broker" "kubernetesApi" -}}
{{- range (get $.root.Values.networkPolicies.egress $name).to -}}
{{- with (.ipBlock | default dict).cidr -}}
{{- if not (has . (list "0.0.0.0/0" "::/0")) -}}
{{- if contains ":" . }}{{ $six = append $six . }}{{ else }}{{ $four = append $four . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- list
  (dict "ipBlock" (dict "cidr" "0.0.0.0/0" "except" (uniq $four)))
  (dict "ipBlock" (dict "cidr" "::/0" "except" (uniq $six)))
  (dict "namespaceSelector" dict)
| toJson -}}
{{- end -}}

{{/* What a process that runs tasks of Airflow's reaches for them, as a JSON list of destinations. */}}
{{- define "airflow-platform.network.of-tasks" -}}
{{- $egress := concat (list "apiServer") (include "airflow-platform.network.of-dags" . | fromJsonArray) -}}
{{- if .Values.logs.s3.bucket }}{{ $egress = concat $egress (list "s3" "identity") }}{{ end -}}
{{- append (uniq $egress) "notifications" | toJson -}}
{{- end -}}

{{/* Where DAGs come from, as a JSON list of destinations. */}}
{{- define "airflow-platform.network.of-dags" -}}
{{- $egress := list -}}
{{- $sync := .Values.dags.gitSync -}}
{{- if $sync.enabled }}{{ $egress = append $egress ($sync.guard.enabled | ternary "guard" "git") }}{{ end -}}
{{- range .Values.dags.bundles -}}
{{- if .git }}{{ $egress = append $egress "git" }}{{ end -}}
{{- if .s3 }}{{ $egress = concat $egress (list "s3" "identity") }}{{ end -}}
{{- end -}}
{{- uniq $egress | toJson -}}
{{- end -}}

{{/* What all pods of tasks reach, as a JSON list of destinations. */}}
{{- define "airflow-platform.network.of-task-pods" -}}
{{- $s3 := .Values.networkPolicies.egress.s3 -}}
{{- $used := or .Values.logs.s3.bucket $s3.to $s3.ports -}}
{{- range .Values.dags.bundles }}{{ if .s3 }}{{ $used = true }}{{ end }}{{ end -}}
{{- (not $used) | ternary (list "dns") (list "dns" "s3") | toJson -}}
{{- end -}}

{{/* What reads Airflow's database, connections and variables, as a JSON list of destinations. */}}
{{- define "airflow-platform.network.of-database" -}}
{{- $egress := list (.Values.pgbouncer.enabled | ternary "pgbouncer" "database") -}}
{{- if .Values.secretsBackend.class }}{{ $egress = concat $egress (list "secretsBackend" "identity") }}{{ end -}}
{{- toJson $egress -}}
{{- end -}}

{{/* Ingress of those who scrape metrics, as JSON. Takes `root` and `names`, of ports. */}}
{{- define "airflow-platform.network.scraped" -}}
{{- $known := include "airflow-platform.metrics.ports" .root | fromYaml -}}
{{- $ports := list -}}
{{- range .names }}{{ $ports = append $ports (get $known .) }}{{ end -}}
{{- $rule := dict "ports" (include "airflow-platform.network.ports" $ports | fromJsonArray) -}}
{{- with .root.Values.networkPolicies.scrapers }}{{ $_ := set $rule "from" . }}{{ end -}}
{{- toJson $rule -}}
{{- end -}}

{{/* The release's own pods, as a JSON list of peers. Takes the root. */}}
{{- define "airflow-platform.network.release" -}}
{{- list (dict "podSelector" (dict "matchLabels" (dict
  "app.kubernetes.io/name" .Chart.Name "app.kubernetes.io/instance" .Release.Name))) | toJson -}}
{{- end -}}

{{/* The ports of `logs.s3.endpoint` and, but for tasks, of that of `backup`, as a JSON list. Takes `root` and `tasks`. */}}
{{- define "airflow-platform.network.s3-ports" -}}
{{- $tasks := .tasks -}}
{{- $ports := list (include "airflow-platform.network.port" (.root.Values.logs.s3.endpoint | default "https://") | int) -}}
{{- with .root.Values.backup -}}
{{- if and .enabled (not $tasks) }}{{ $ports = append $ports (include "airflow-platform.network.port" (.s3.endpoint | default "https://") | int) }}{{ end -}}
{{- end -}}
{{- uniq $ports | toJson -}}
{{- end -}}

{{/* The ports of `dags.gitSync.repo` and of the repositories of `dags.bundles`, as a JSON list: none of a file. Takes `root`. */}}
{{- define "airflow-platform.network.git-ports" -}}
{{- $ports := list -}}
{{- $repos := list (.root.Values.dags.gitSync.repo | default "") -}}
{{- range .root.Values.dags.bundles }}{{ with .git }}{{ $repos = append $repos (.repo | default "") }}{{ end }}{{ end -}}
{{- range $repo := $repos -}}
{{- if contains "://" $repo -}}
{{- with include "airflow-platform.network.port" $repo | int }}{{ $ports = append $ports . }}{{ end -}}
{{- else if $repo -}}
{{- $ports = append $ports 22 -}}
{{- end -}}
{{- end -}}
{{- uniq $ports | toJson -}}
{{- end -}}

{{/* Of an address with a scheme. */}}
{{- define "airflow-platform.network.port" -}}
{{- $scheme := regexFind "^[a-z+]+" . -}}
{{- $host := . | trimPrefix (printf "%s://" $scheme) | splitList "/" | first -}}
{{- regexFind ":[0-9]+$" $host | trimPrefix ":" | default (get (dict "https" "443" "http" "80" "ssh" "22" "git" "9418") $scheme) -}}
{{- end -}}
