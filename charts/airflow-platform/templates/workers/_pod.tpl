{{/*
Pod of a KubernetesExecutor worker, which runs one task. The executor sets name, arguments and the labels of the task.
It holds no secret of the platform: connections and variables come over the Execution API.
*/}}
{{- define "airflow-platform.worker.pod" -}}
{{- $values := .Values.workers -}}
{{- $pod := dict "root" . "component" "worker" "values" $values "token" true "gitSync" .Values.dags.gitSync.enabled -}}
apiVersion: v1
kind: Pod
metadata:
  name: worker
  labels:
    {{- include "airflow-platform.selector-labels" $pod | nindent 4 }}
    {{- with merge (dict) ($values.podLabels | default dict) (.Values.podLabels | default dict) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- /* Argo CD that tracks by the label "instance" would take a running worker for what is left over, and delete it. */}}
  {{- $argocd := dict "argocd.argoproj.io/sync-options" "Prune=false" "argocd.argoproj.io/compare-options" "IgnoreExtraneous" }}
  annotations:
    {{- toYaml (merge (dict) ($values.podAnnotations | default dict) (.Values.podAnnotations | default dict) $argocd) | nindent 4 }}
spec:
  restartPolicy: Never
  {{- include "airflow-platform.pod-spec" $pod | nindent 2 }}
  {{- with include "airflow-platform.init-containers" $pod | trim }}
  initContainers:
    {{- . | nindent 4 }}
  {{- end }}
  containers:
    - name: base
      {{- include "airflow-platform.airflow-container" . | nindent 6 }}
      env:
        {{- include "airflow-platform.env" (dict "root" . "values" $values "blocks" (list
          (include "airflow-platform.env.logs" .)
          (include "airflow-platform.env.kubernetes" .)
        )) | nindent 8 }}
      {{- with $values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        {{- include "airflow-platform.airflow-mounts" $pod | nindent 8 }}
  volumes:
    {{- include "airflow-platform.airflow-volumes" $pod | nindent 4 }}
{{- end -}}

{{/* What the pods of an item of workers.sets differ in, as JSON: Airflow lays it over the pod above. */}}
{{- define "airflow-platform.worker.set" -}}
{{- $set := . -}}
{{- $container := dict "name" "base" -}}
{{- with .resources -}}
{{- $resources := dict -}}
{{- range $kind, $quantities := . }}{{ $_ := set $resources $kind (include "airflow-platform.quantities" $quantities | fromJson) }}{{ end -}}
{{- $_ := set $container "resources" $resources -}}
{{- end -}}
{{- $spec := dict "containers" (list $container) -}}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "priorityClassName" -}}
{{- with get $set $field }}{{ $_ := set $spec $field . }}{{ end -}}
{{- end -}}
{{- $metadata := dict "labels" (.podLabels | default dict) "annotations" (.podAnnotations | default dict) -}}
{{- dict "metadata" $metadata "spec" $spec | toJson -}}
{{- end -}}
