{{/*
What the API server adds by the definition of an object that is not Kubernetes' own. Argo CD compares the lists of such an object
as a whole, and shows for ever as drift what one has not.
*/}}

{{/*
Anything with defaults where it says nothing, as a JSON map `{made}`. Takes `own` and `defaults`, a map: a map in it is about what
`own` has by that key, and is no default itself. Of a list, each item gets them.
*/}}
{{- define "airflow-platform.with-defaults" -}}
{{- $own := .own -}}
{{- $made := $own -}}
{{- if kindIs "slice" $own -}}
{{- $made = list -}}
{{- range $own -}}
{{- $made = append $made (include "airflow-platform.with-defaults" (dict "own" . "defaults" $.defaults) | fromJson).made -}}
{{- end -}}
{{- else if kindIs "map" $own -}}
{{- $made = deepCopy $own -}}
{{- range $key, $default := .defaults -}}
{{- if not (kindIs "map" $default) -}}
{{- if not (hasKey $own $key) }}{{ $_ := set $made $key $default }}{{ end -}}
{{- else if hasKey $own $key -}}
{{- $part := include "airflow-platform.with-defaults" (dict "own" (get $own $key) "defaults" $default) | fromJson -}}
{{- $_ := set $made $key $part.made -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- dict "made" $made | toJson -}}
{{- end -}}

{{/* Of an item of `externalSecrets`. */}}
{{- define "airflow-platform.external-secrets.defaults" -}}
data:
  remoteRef: {conversionStrategy: Default, decodingStrategy: None, metadataPolicy: None}
  sourceRef: {generatorRef: {apiVersion: generators.external-secrets.io/v1alpha1}}
dataFrom:
  extract: {conversionStrategy: Default, decodingStrategy: None, metadataPolicy: None}
  find: {conversionStrategy: Default, decodingStrategy: None}
  sourceRef: {generatorRef: {apiVersion: generators.external-secrets.io/v1alpha1}}
  rewrite: {merge: {conflictPolicy: Error, into: "", priorityPolicy: Strict, strategy: Extract}}
template:
  templateFrom: {target: Data, configMap: {items: {templateAs: Values}}, secret: {items: {templateAs: Values}}}
{{- end -}}
