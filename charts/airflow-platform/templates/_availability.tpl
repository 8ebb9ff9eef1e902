{{/* How many pods a component has, where they run, and how they are replaced. Each takes the component's `values`. */}}

{{/* The least and the most pods, as a JSON map `{least, most}`: they differ where something scales them. */}}
{{- define "airflow-platform.pod-counts" -}}
{{- $counts := dict "least" (int .values.replicas) "most" (int .values.replicas) -}}
{{- range .values.autoscaling | default dict -}}
{{- if .enabled }}{{ $counts = dict "least" (int .minReplicas) "most" (int .maxReplicas) }}{{ end -}}
{{- end -}}
{{- toJson $counts -}}
{{- end -}}

{{/* Of a Deployment: its number of pods, which is left out where something else sets it, its strategy, and its time to be up. */}}
{{- define "airflow-platform.rollout" -}}
{{- $scaled := false -}}
{{- range .values.autoscaling | default dict }}{{ if .enabled }}{{ $scaled = true }}{{ end }}{{ end -}}
{{- if not $scaled -}}
replicas: {{ .values.replicas }}
{{- end }}
{{- with .values.strategy }}
strategy:
  {{- /* The chart's default of it would not go with another type. */}}
  {{- toYaml (eq (.type | default "RollingUpdate") "RollingUpdate" | ternary . (omit . "rollingUpdate")) | nindent 2 }}
{{- end }}
{{- with include "airflow-platform.progress-deadline" . }}
{{ . }}
{{- end }}
{{- end -}}

{{/*
Of a Deployment whose pods wait for dump and migration: Kubernetes' own 600 seconds come on top, as helm and Argo CD give up where it
reports that they have passed. Takes `root`, `migrated` and `served`.
*/}}
{{- define "airflow-platform.progress-deadline" -}}
{{- if or .migrated .served -}}
{{- $dump := .root.Values.backup.enabled | ternary .root.Values.backup.deadlineSeconds 0 | int -}}
progressDeadlineSeconds: {{ add 600 (int .root.Values.migrations.waitTimeout) $dump }}
{{- end -}}
{{- end -}}

{{/* Of a Deployment's pod: its end, and how it keeps away from the others. Takes `root` and `component` too. */}}
{{- define "airflow-platform.deployed-pod-spec" -}}
terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds | int }}
{{- with include "airflow-platform.topology-spread" . | fromYamlArray }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
By node, where the user says nothing: also of one pod, so that a second one does not restart the first. What names no pods is
about the component's own, those of one version: during an update old ones do not count.
*/}}
{{- define "airflow-platform.topology-spread" -}}
{{- $constraints := .values.topologySpreadConstraints -}}
{{- if kindIs "invalid" $constraints -}}
{{- $constraints = list (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway") -}}
{{- end -}}
{{- $labels := include "airflow-platform.selector-labels" . | fromYaml -}}
{{- $own := dict "labelSelector" (dict "matchLabels" $labels) "matchLabelKeys" (list "pod-template-hash") -}}
{{- range $constraints }}
{{- $one := . -}}
{{- if not (hasKey . "labelSelector") }}{{ $one = merge (dict) . $own }}{{ end }}
{{ list $one | toYaml }}
{{- else }}[]
{{- end }}
{{- end -}}

{{/* How many pods of `pods` an `amount` is, a number or a percentage, which Kubernetes rounds up. */}}
{{- define "airflow-platform.share" -}}
{{- $amount := toString .amount -}}
{{- if hasSuffix "%" $amount -}}
{{ divf (mul (trimSuffix "%" $amount | int) .pods) 100 | ceil | int }}
{{- else -}}
{{ int $amount }}
{{- end -}}
{{- end -}}

{{/* A PodDisruptionBudget, where a drain could take one pod and leave another. Takes `root` and `component` too. */}}
{{- define "airflow-platform.poddisruptionbudget" -}}
{{- $budget := .values.podDisruptionBudget | default dict -}}
{{- if and $budget.enabled (gt (include "airflow-platform.pod-counts" . | fromJson).most 1.0) -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include (printf "airflow-platform.%s.name" .component) .root }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "airflow-platform.labels" . | nindent 4 }}
spec:
  {{- if hasKey $budget "minAvailable" }}
  minAvailable: {{ $budget.minAvailable }}
  {{- else }}
  maxUnavailable: {{ hasKey $budget "maxUnavailable" | ternary $budget.maxUnavailable 1 }}
  {{- end }}
  # A pod that is not ready is no loss: it does not hold up a drain.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "airflow-platform.selector-labels" . | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* A HorizontalPodAutoscaler by CPU, where `autoscaling.hpa` asks for one. Takes `root` and `component` too. */}}
{{- define "airflow-platform.horizontalpodautoscaler" -}}
{{- $hpa := .values.autoscaling.hpa -}}
{{- $name := include (printf "airflow-platform.%s.name" .component) .root -}}
{{- if $hpa.enabled -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "airflow-platform.labels" . | nindent 4 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ $name }}
  minReplicas: {{ $hpa.minReplicas }}
  maxReplicas: {{ $hpa.maxReplicas }}
  metrics:
    # Of the container that works: git-sync beside it would water the average down.
    - type: ContainerResource
      containerResource:
        name: cpu
        container: {{ .component }}
        target:
          type: Utilization
          averageUtilization: {{ $hpa.targetCPU }}
{{- end -}}
{{- end -}}
