{{/*
Which components read an option, or all of a section, where not all of them do: a change of it restarts no others. Taken from
where Airflow 3.3.2 and its providers call conf.get, which another version may do elsewhere. What is not here is taken to be read
by all.
*/}}
{{- define "airflow-platform.option-readers" -}}
{{- $readers := dict
  "celery" (list "scheduler" "launcher")
  "celery_broker_transport_options" (list "scheduler" "launcher")
  "celery_result_backend_transport_options" (list "scheduler" "launcher")
  "scheduler.parsing_cleanup_interval" (list "scheduler" "dag-processor")
  "logging.remote_base_log_folder" (list "api-server" "scheduler" "triggerer" "launcher")
-}}
{{- range $component, $sections := include "airflow-platform.read-by-one" . | fromYaml -}}
{{- range $section, $options := $sections -}}
{{- range $options }}{{ $_ := set $readers (printf "%s.%s" $section .) (list $component) }}{{ end -}}
{{- end -}}
{{- end -}}
{{- toYaml $readers -}}
{{- end -}}

{{- define "airflow-platform.read-by-one" -}}
api-server:
  api:
    - workers
    - worker_timeout
    - server_type
    - worker_refresh_interval
    - worker_refresh_batch_size
    - instance_name
    - theme
    - enable_swagger_ui
    - expose_config
    - log_stream_buffer_size
    - log_fetch_timeout_sec
    - maximum_page_limit
    - fallback_page_limit
    - access_control_allow_headers
    - access_control_allow_methods
    - access_control_allow_origins
    - grid_view_sorting_order
    - hide_paused_dags_by_default
    - default_wrap
    - auto_refresh_interval
    - require_confirmation_dag_change
scheduler:
  scheduler:
    - num_runs
    - only_idle
    - scheduler_idle_sleep_time
    - pool_metrics_interval
    - ti_metrics_interval
    - dagrun_metrics_interval
    - orphaned_tasks_check_interval
    - task_instance_heartbeat_timeout_detection_interval
    - max_tis_per_query
    - max_dagruns_to_create_per_loop
    - max_dagruns_per_loop_to_schedule
    - use_job_schedule
    - trigger_timeout_check_interval
    - task_queued_timeout
    - task_queued_timeout_check_interval
    - enable_tracemalloc
  kubernetes_executor:
    - delete_worker_pods
    - delete_worker_pods_on_failure
    - worker_pods_creation_batch_size
    - async_pod_creation
    - pod_creation_max_concurrency
    - worker_pod_pending_fatal_container_state_reasons
dag-processor:
  dag_processor:
    - refresh_interval
    - parsing_processes
    - file_parsing_sort_mode
    - max_callbacks_per_loop
    - min_file_process_interval
    - stale_dag_threshold
    - dag_file_processor_timeout
    - print_stats_interval
    - bundle_refresh_check_interval
    - parsing_pre_import_modules
triggerer:
  triggerer:
    - capacity
    - runner_health_check_threshold
    - blocked_main_thread_warning_threshold
    - max_trigger_to_select_per_loop
    - on_kill_timeout
    - shared_stream_subscriber_queue_size
    - shared_stream_ack_timeout
    - shared_stream_cohort_grace_period
{{- end -}}
