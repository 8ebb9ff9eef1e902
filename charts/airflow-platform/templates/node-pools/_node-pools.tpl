{{/* Objects of the node pools: their names, and amounts of resources. A pool is an item of nodePools. */}}

{{/* The pool's name as objects may have it. */}}
{{- define "airflow-platform.node-pool.object-name" -}}
{{- regexReplaceAll "[^a-z0-9]+" (lower .name) "-" -}}
{{- end -}}

{{/*
Name of a pool's PriorityClass, empty where it has none; takes `root` and `pool`. A ResourceQuota needs one, to tell the pool's
pods. A PriorityClass is of no namespace, and cannot change: namespace and release are in its name, and so is what it says. It is
a value of a ResourceQuota's scope, which has the length of a label's.
*/}}
{{- define "airflow-platform.priority-class.name" -}}
{{- if or .pool.priorityClass (and .pool.quota (not .root.Values.kueue.enabled)) -}}
{{- $class := .pool.priorityClass | default dict -}}
{{- $release := printf "%s.%s" .root.Release.Namespace (include "airflow-platform.fullname" .root) -}}
{{- $name := printf "%s.%s-%d" $release (include "airflow-platform.node-pool.object-name" .pool) ($class.value | default 0 | int64) -}}
{{- if eq ($class.preemptionPolicy | default "") "Never" }}{{ $name = printf "%s-never" $name }}{{ end -}}
{{- if gt (len $name) 63 }}{{ $name = printf "%s-%s" ($name | trunc 54 | trimAll "-.") ($name | sha256sum | trunc 8) }}{{ end -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{/* Quantities, which YAML may have read as numbers, as a JSON map of strings. */}}
{{- define "airflow-platform.quantities" -}}
{{- $texts := dict -}}
{{- range $name, $quantity := . | default dict }}{{ $_ := set $texts $name (toString $quantity) }}{{ end -}}
{{- toJson $texts -}}
{{- end -}}

{{/* A quantity as a number, to compare it: templates read it with float64. */}}
{{- define "airflow-platform.amount" -}}
{{- $factors := dict "n" 1e-9 "u" 1e-6 "m" 1e-3 "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18
  "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 -}}
{{- $number := toString . | regexFind "^[0-9.]+([eE][+-]?[0-9]+)?" -}}
{{- mulf (float64 $number) (get $factors (toString . | trimPrefix $number)) -}}
{{- end -}}

{{/*
What no container in a namespace of tasks may use more of, as a JSON map: where every pool's `largest` names it, the most that
one of them gives. Only of what runs out: a limit of processors would slow down what could use idle ones. And no devices: a
LimitRange would give one to each container.
*/}}
{{- define "airflow-platform.largest-container" -}}
{{- $pools := .Values.nodePools | default list -}}
{{- $largest := dict -}}
{{- range $name := list "memory" "ephemeral-storage" -}}
{{- $most := "0" -}}
{{- $named := gt (len $pools) 0 -}}
{{- range $pools -}}
{{- if hasKey (.largest | default dict) $name -}}
{{- $own := get .largest $name | toString -}}
{{- if gt (include "airflow-platform.amount" $own | float64) (include "airflow-platform.amount" $most | float64) }}{{ $most = $own }}{{ end -}}
{{- else }}{{ $named = false }}{{ end -}}
{{- end -}}
{{- if $named }}{{ $_ := set $largest $name $most }}{{ end -}}
{{- end -}}
{{- toJson $largest -}}
{{- end -}}

{{/* Name of a pool's LocalQueue of Kueue, empty where it has none; takes `root` and `pool`. Pods have it as a label's value. */}}
{{- define "airflow-platform.local-queue.name" -}}
{{- if and .root.Values.kueue.enabled .pool.quota -}}
{{- $name := printf "%s-%s" (include "airflow-platform.fullname" .root) (include "airflow-platform.node-pool.object-name" .pool) -}}
{{- if gt (len $name) 63 }}{{ $name = printf "%s-%s" ($name | trunc 54 | trimAll "-") ($name | sha256sum | trunc 8) }}{{ end -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{/*
Name of a pool's Cohort and ResourceFlavor, and with `namespace` of the ClusterQueue of a namespace's share of it; takes `root`
and `pool`. They are of no namespace, so the release's is in their names.
*/}}
{{- define "airflow-platform.cohort.name" -}}
{{- $name := printf "%s.%s.%s" .root.Release.Namespace (include "airflow-platform.fullname" .root) (include "airflow-platform.node-pool.object-name" .pool) -}}
{{- with .namespace }}{{ $name = printf "%s.%s" $name . }}{{ end -}}
{{- $name -}}
{{- end -}}

{{/*
What Kueue counts of a pool's pods, as a JSON map: each resource that they may ask for, with the quota of it. Kueue admits no
pod that asks for a resource which its queue does not name, so what the quota leaves open is named too, with more than any
cluster has.
*/}}
{{- define "airflow-platform.cohort.quota" -}}
{{- $quota := dict -}}
{{- range $part := list (dict "cpu" "" "memory" "" "ephemeral-storage" "") (dig "resources" "requests" dict .) (dig "resources" "limits" dict .) (.largest | default dict) -}}
{{- range $name, $_ := $part }}{{ $_ := set $quota $name "1P" }}{{ end -}}
{{- end -}}
{{- range $name, $amount := .quota }}{{ $_ := set $quota (trimPrefix "requests." $name) (toString $amount) }}{{ end -}}
{{- toJson $quota -}}
{{- end -}}

{{/* A resource group of Kueue with one flavor; takes `flavor`, and `quota`, a map of quantities. */}}
{{- define "airflow-platform.resource-groups" -}}
- coveredResources: {{ keys .quota | sortAlpha | toJson }}
  flavors:
    - name: {{ .flavor }}
      resources:
        {{- range $name := keys .quota | sortAlpha }}
        - name: {{ $name }}
          nominalQuota: {{ get $.quota $name | quote }}
        {{- end }}
{{- end -}}
