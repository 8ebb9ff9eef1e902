{{/* Single sign-on that nobody could use, or that would be none, and what would take the key of sessions away. */}}

{{- define "airflow-platform.validate.auth" -}}
{{- range concat (.Values.extraEnv | default list) (.Values.apiServer.extraEnv | default list) -}}
{{- if eq .name "AIRFLOW__FAB__CONFIG_FILE" -}}
{{- fail "extraEnv has AIRFLOW__FAB__CONFIG_FILE, in place of the chart's own, which gives sessions their key. Name your file by config.fab.config_file: the chart's reads it." -}}
{{- end -}}
{{- end -}}
{{- with .Values.auth.oidc -}}
{{- if .enabled -}}
{{- range $key, $what := dict
  "issuer" "the provider's address, https://…, under which /.well-known/openid-configuration lies"
  "clientId" "the name that the provider knows Airflow by"
  "existingSecret" (printf "a Secret whose key %q is the client's secret" .secretKey)
-}}
{{- if not (get $.Values.auth.oidc $key) -}}
{{- fail (printf "auth.oidc is enabled, but auth.oidc.%s is not set. Set it to %s." $key $what) -}}
{{- end -}}
{{- end -}}
{{- $host := (urlParse .issuer).hostname -}}
{{- if and (hasPrefix "http://" .issuer) (not (regexMatch "^(localhost|127\\.0\\.0\\.1)$|\\.svc(\\.[a-z.]+)?$" $host)) -}}
{{- fail (printf "auth.oidc.issuer is %s: tokens and the client's secret would go there in the clear. Write https://." .issuer) -}}
{{- end -}}
{{- if not (has "openid" .scopes) -}}
{{- fail "auth.oidc.scopes has no \"openid\", so the provider would not say who logs in. Add it." -}}
{{- end -}}
{{- if not (or .roleMapping .defaultRole) -}}
{{- fail "auth.oidc has neither roleMapping nor defaultRole, so nobody could log in. Map the provider's groups to roles, or name the role of everybody." -}}
{{- end -}}
{{- if not $.Values.apiServer.baseUrl -}}
{{- fail "auth.oidc is enabled, but apiServer.baseUrl is not set, and the provider sends browsers back there. Set it to the address that they use." -}}
{{- end -}}
{{- $manager := (get $.Values.config "core" | default dict).auth_manager | default "" | toString -}}
{{- if not (hasSuffix ".FabAuthManager" $manager) -}}
{{- fail (printf "auth.oidc is enabled, but config.core.auth_manager is %q, and it is FabAuthManager's. Set auth.oidc.enabled to false." $manager) -}}
{{- end -}}
{{- if hasKey (get $.Values.config "fab" | default dict) "config_file" -}}
{{- fail "config.fab.config_file is set, and auth.oidc has a file of its own there. Take it out, or set auth.oidc.enabled to false and write all in yours." -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
