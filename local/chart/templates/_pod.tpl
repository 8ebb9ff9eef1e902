{{/* What every pod here has: the image pull secret, no token, Pod Security "restricted". */}}
{{- define "local.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecret }}
imagePullSecrets:
  - name: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{- define "local.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The image of one of local/'s folders: list of root context and name. */}}
{{- define "local.image" -}}
{{- $root := index . 0 -}}
{{ $root.Values.image.registry }}/{{ index . 1 }}:{{ index $root.Values.image.tags (index . 1) }}
{{- end }}

{{- define "local.labels" -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- end }}

{{/* Volumes of a server and, with persistence, the claim of its data. */}}
{{- define "local.volumes" -}}
- name: tmp
  emptyDir: {}
{{- if not .Values.persistence.enabled }}
- name: data
  emptyDir: {}
{{- end }}
{{- end }}

{{- define "local.volumeClaimTemplates" -}}
{{- if .Values.persistence.enabled }}
volumeClaimTemplates:
  - metadata:
      name: data
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .Values.persistence.storageClassName }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ .Values.persistence.size }}
{{- end }}
{{- end }}

{{/* An environment variable out of the Secret "credentials": list of variable and key. */}}
{{- define "local.credential" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: credentials
      key: {{ index . 1 }}
{{- end }}
