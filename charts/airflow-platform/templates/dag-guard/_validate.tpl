{{- define "airflow-platform.validate.dag-guard" -}}
{{- with .Values.dags.gitSync -}}
{{- if and .guard.enabled (not .enabled) -}}
{{- fail "dags.gitSync.guard is enabled, but dags.gitSync.enabled is false, so there is nothing to guard. Enable dags.gitSync, or take the guard out." -}}
{{- end -}}
{{- if and .guard.enabled (not $.Values.networkPolicies.enabled) -}}
{{- fail "dags.gitSync.guard is enabled, but networkPolicies.enabled is false: its git server asks for no password, and any pod of the cluster could clone the repository. Enable networkPolicies, or take the guard out." -}}
{{- end -}}
{{- if and .guard.accept (not .guard.enabled) -}}
{{- fail "dags.gitSync.guard.accept is set, but the guard is not enabled: every commit is accepted. Take it out." -}}
{{- end -}}
{{- end -}}
{{- end -}}
