{{- define "airflow-platform.validate.external-secrets" -}}
{{- $seen := dict -}}
{{- range .Values.externalSecrets -}}
{{- if hasKey $seen .name -}}
{{- fail (printf "externalSecrets has %q twice. Take one of them out." .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- if not (or .data .dataFrom) -}}
{{- fail (printf "externalSecrets: %s has neither data nor dataFrom, so the Secret would be empty. Say what of the store is in it." .name) -}}
{{- end -}}
{{- end -}}
{{- /* A cluster serves the API of API services; "helm template" alone knows no cluster. */ -}}
{{- if and .Values.externalSecrets (.Capabilities.APIVersions.Has "apiregistration.k8s.io/v1") (not (.Capabilities.APIVersions.Has "external-secrets.io/v1")) -}}
{{- fail "externalSecrets is set, but the cluster does not serve external-secrets.io/v1. Install the External Secrets operator 0.16 or later first, or take externalSecrets out." -}}
{{- end -}}
{{- end -}}
