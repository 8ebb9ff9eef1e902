{{/* DAG bundles: the one of git-sync or of the image, and those of `dags.bundles`. Each takes the root alone. */}}

{{/* [dag_processor] dag_bundle_config_list, as a JSON list. */}}
{{- define "airflow-platform.bundles" -}}
{{- $local := "airflow.dag_processing.bundles.local.LocalDagBundle" -}}
{{- $bundles := list (dict "name" "dags" "classpath" $local "kwargs" (dict "path" (include "airflow-platform.dags-folder" .))) -}}
{{- range $bundle := .Values.dags.bundles -}}
{{- $class := $local -}}
{{- $kwargs := dict -}}
{{- with .git -}}
{{- $class = "airflow.providers.git.bundles.git.GitDagBundle" -}}
{{- $kwargs = dict "repo_url" .repo "tracking_ref" (.ref | default "main" | toString) -}}
{{- range $from, $to := dict "subPath" "subdir" "connection" "git_conn_id" "submodules" "submodules" -}}
{{- with get $bundle.git $from }}{{ $_ := set $kwargs $to . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- with .s3 -}}
{{- $class = "airflow.providers.amazon.aws.bundles.s3.S3DagBundle" -}}
{{- $kwargs = dict "bucket_name" .bucket -}}
{{- with .prefix }}{{ $_ := set $kwargs "prefix" . }}{{ end -}}
{{- with .connection }}{{ $_ := set $kwargs "aws_conn_id" . }}{{ end -}}
{{- end -}}
{{- with .path }}{{ $_ := set $kwargs "path" . }}{{ end -}}
{{- with .refreshInterval }}{{ $_ := set $kwargs "refresh_interval" (int .) }}{{ end -}}
{{- $bundles = append $bundles (dict "name" .name "classpath" $class "kwargs" $kwargs) -}}
{{- end -}}
{{- toJson $bundles -}}
{{- end -}}

{{- define "airflow-platform.validate.bundles" -}}
{{- $seen := dict "dags" true -}}
{{- range .Values.dags.bundles -}}
{{- $where := printf "dags.bundles: %s" .name -}}
{{- if hasKey $seen .name -}}
{{- fail (printf "dags.bundles has a bundle named %q, which is another's name (\"dags\" is that of git-sync or the image). Give it another." .name) -}}
{{- end -}}
{{- $_ := set $seen .name true -}}
{{- if ne 1 (len (pick . "git" "s3" "path")) -}}
{{- fail (printf "%s has to be one of git, s3 and path. Say where its DAGs are, once." $where) -}}
{{- end -}}
{{- with .git -}}
{{- /* The address is not repeated where it may hold a secret. */ -}}
{{- if or (regexMatch "^https?://.*@" .repo) (regexMatch "^[A-Za-z+]+://[^/]*:[^/]*@" .repo) -}}
{{- fail (printf "%s: git.repo contains a user, a password or a token. Put them into a connection of the type git (declared.connections) and name it as git.connection." $where) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.dags.bundles (hasKey (get .Values.config "dag_processor" | default dict) "dag_bundle_config_list") -}}
{{- fail "config.dag_processor.dag_bundle_config_list is set, and dags.bundles too, which would be lost. Take one of them out." -}}
{{- end -}}
{{- end -}}
