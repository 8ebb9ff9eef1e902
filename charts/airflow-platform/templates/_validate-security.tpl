{{/* Rules of networks and of admission that would not hold, or could not. Called from _validate.tpl. */}}

{{- define "airflow-platform.validate.network-policies" -}}
{{- $seen := dict -}}
{{- range $given := .Values.networkPolicies.tasks -}}
{{- $place := printf "networkPolicies.tasks: %q" .name -}}
{{- if hasKey $seen .name -}}
{{- fail (printf "%s is there twice. Give one of them another name." $place) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- range .namespaces -}}
{{- if not (has . $.Values.tasks.namespaces) -}}
{{- fail (printf "%s names the namespace %q, which is none of tasks.namespaces (%s). Correct its name, or add it there." $place . (join ", " $.Values.tasks.namespaces)) -}}
{{- end -}}
{{- end -}}
{{- if not (or .ingress .egress) -}}
{{- fail (printf "%s gives nothing. Set its egress or its ingress, or take it out." $place) -}}
{{- end -}}
{{- include "airflow-platform.validate.egress" (dict "place" $place "rules" .egress) -}}
{{- end -}}
{{- range $name, $given := .Values.networkPolicies.egress -}}
{{- with $given.to -}}
{{- include "airflow-platform.validate.egress" (dict "place" (printf "networkPolicies.egress.%s" $name) "rules" (list $given)) -}}
{{- end -}}
{{- end -}}
{{- range $name, $given := .Values.networkPolicies.extra -}}
{{- include "airflow-platform.validate.egress" (dict "place" (printf "networkPolicies.extra.%s" $name) "rules" ($given | default dict).egress) -}}
{{- end -}}
{{- end -}}

{{/* Rules that lead anywhere leave out where clouds hand out a node's credentials. Takes `place` and `rules`. */}}
{{- define "airflow-platform.validate.egress" -}}
{{- $place := .place -}}
{{- range .rules -}}
{{- if not .to -}}
{{- fail (printf "%s has a rule of egress without \"to\", which is anywhere, a cloud's metadata address too. Name where to." $place) -}}
{{- end -}}
{{- range .to -}}
{{- with .ipBlock -}}
{{- $metadata := get (dict "0.0.0.0/0" "169.254.169.254/32" "::/0" "fd00:ec2::254/128") .cidr -}}
{{- if and $metadata (not (has $metadata (.except | default list))) -}}
{{- fail (printf "%s reaches %s, a cloud's metadata address too, which hands out the node's credentials. Add %s to its except." $place .cidr $metadata) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.admission-policy" -}}
{{- with .Values.admissionPolicy -}}
{{- if and .teams (not .enabled) -}}
{{- fail "admissionPolicy.teams is set, but admissionPolicy.enabled is false, so nothing would keep teams apart. Set it to true, or take teams out." -}}
{{- end -}}
{{- range $namespace, $_ := .teams -}}
{{- if not (has $namespace $.Values.tasks.namespaces) -}}
{{- fail (printf "admissionPolicy.teams has the namespace %q, which is none of tasks.namespaces (%s). Correct its name, or add it there." $namespace (join ", " $.Values.tasks.namespaces)) -}}
{{- end -}}
{{- end -}}
{{- /* A cluster serves the API of API services; "helm template" alone knows no cluster. */ -}}
{{- $served := $.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy" -}}
{{- if and .enabled ($.Capabilities.APIVersions.Has "apiregistration.k8s.io/v1") (not $served) -}}
{{- fail "admissionPolicy.enabled is true, but the cluster does not serve ValidatingAdmissionPolicy of admissionregistration.k8s.io/v1, which Kubernetes has from 1.30 on. Upgrade it, or set admissionPolicy.enabled to false." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
What in a value is like a secret, however deep it stands: the first such key, or that it is a URL with a password. Empty: nothing. Takes the
value, of any kind.
*/}}
{{- define "airflow-platform.secret-in" -}}
{{- $secret := "password|passwd|passphrase|secret|(private|account)_?key|connection_?string|(token|dsn|api_?key|access_?key|keyfile(_dict)?|credentials?|authorization)$" -}}
{{- $place := "_(path|prefix|name|file|url|uri|arn|namespace|type)$" -}}
{{- $found := "" -}}
{{- if kindIs "map" . -}}
{{- range $key, $one := . -}}
{{- if and (not $found) $one -}}
{{- $is := and (regexMatch $secret (lower $key)) (not (regexMatch $place (lower $key))) (not (or (kindIs "map" $one) (kindIs "slice" $one))) -}}
{{- $found = $is | ternary $key (include "airflow-platform.secret-in" $one) -}}
{{- end -}}
{{- end -}}
{{- else if kindIs "slice" . -}}
{{- range . }}{{ $found = $found | default (include "airflow-platform.secret-in" .) }}{{ end -}}
{{- else if and (kindIs "string" .) (regexMatch "://[^/@\\s]*:[^/@\\s]+@" .) -}}
{{- $found = "a URL with a password" -}}
{{- end -}}
{{- $found -}}
{{- end -}}
