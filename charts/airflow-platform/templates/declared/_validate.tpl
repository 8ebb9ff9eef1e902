{{/* What cannot be declared. */}}

{{- define "airflow-platform.validate.declared" -}}
{{- $identities := dict "connections" "id" "variables" "key" "pools" "name" "roles" "name" "users" "username" -}}
{{- range $kind, $objects := .Values.declared -}}
{{- $seen := dict -}}
{{- range $objects -}}
{{- $name := get . (get $identities $kind) -}}
{{- if hasKey $seen $name -}}
{{- fail (printf "declared.%s has %q twice. Take one of them out." $kind $name) -}}
{{- end -}}
{{- $_ := set $seen $name true -}}
{{- if has $kind (list "connections" "variables") -}}
{{- include "airflow-platform.validate.declared-value" (dict "where" (printf "declared.%s: %s" $kind $name) "name" $name "object" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "airflow-platform.validate.declared-pools" . -}}
{{- include "airflow-platform.validate.declared-people" . -}}
{{- end -}}

{{/* A connection or a variable: from a Secret, or from the values where it is none. Takes `where`, `name` and `object`. */}}
{{- define "airflow-platform.validate.declared-value" -}}
{{- $value := .object.value -}}
{{- if and .object.existingSecret (hasKey .object "value") -}}
{{- fail (printf "%s has existingSecret and value, and only one of them can be meant. Take the other out." .where) -}}
{{- end -}}
{{- if not (or .object.existingSecret (hasKey .object "value")) -}}
{{- fail (printf "%s has neither existingSecret nor value. Name the Secret that holds it; value is for what is no secret." .where) -}}
{{- end -}}
{{- if and (hasPrefix "declared.variables" .where) $value (include "airflow-platform.secret-in" (dict .name "a value")) -}}
{{- fail (printf "%s is named like a secret, and its value would stand in the Job. Put it in a Secret and set existingSecret to its name." .where) -}}
{{- end -}}
{{- $is := hasPrefix "declared.variables" .where | ternary "variable in a Secret" "connection in a Secret, as JSON or a URI," -}}
{{- if and (kindIs "map" $value) (kindIs "string" (get $value "extra" | default dict)) (hasPrefix "declared.connections" .where) -}}
{{- fail (printf "%s has an extra that is a text. Write it as a map, so that secrets in it are found." .where) -}}
{{- end -}}
{{- with include "airflow-platform.secret-in" $value -}}
{{- fail (printf "%s has %s in its value, which would stand in the Job. Put the %s and set existingSecret to its name." $.where . $is) -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.declared-pools" -}}
{{- range .Values.declared.pools -}}
{{- $name := .name -}}
{{- range $.Values.nodePools -}}
{{- if eq .name $name -}}
{{- fail (printf "declared.pools has %q, which is a node pool's. Set the slots in nodePools, and take it out of declared.pools." $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "airflow-platform.validate.declared-people" -}}
{{- $manager := (get .Values.config "core" | default dict).auth_manager | default "" | toString -}}
{{- range $kind := list "roles" "users" -}}
{{- if and (get $.Values.declared $kind) (not (hasSuffix ".FabAuthManager" $manager)) -}}
{{- fail (printf "declared.%s is set, but config.core.auth_manager is %q, and only FabAuthManager's can be declared. Take declared.%s out." $kind $manager $kind) -}}
{{- end -}}
{{- end -}}
{{- range .Values.declared.roles -}}
{{- if has .name (list "Admin" "Op" "User" "Viewer" "Public" "Declared") -}}
{{- fail (printf "declared.roles has %q, which Airflow or the platform itself keeps. Give the role another name." .name) -}}
{{- end -}}
{{- end -}}
{{- range .Values.declared.users -}}
{{- if and $.Values.admin.enabled (eq .username $.Values.admin.username) -}}
{{- fail (printf "declared.users has %q, which is admin.username. Set admin.enabled to false, or give one of them another name." .username) -}}
{{- end -}}
{{- end -}}
{{- end -}}
