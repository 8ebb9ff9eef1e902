{{/*
Airflow's Flask app in the api-server: FAB's auth manager, and its sessions, whose key no other pod has (airflow_platform.flask_config).
Each takes the root alone.
*/}}

{{- define "airflow-platform.env.flask" -}}
- name: AIRFLOW__FAB__CONFIG_FILE
  value: /etc/airflow-platform/webserver_config.py
{{- end -}}

{{/* The file, which reads the user's own. */}}
{{- define "airflow-platform.webserver-config" -}}
{{- $own := (get .Values.config "fab" | default dict).config_file | default "" | toString -}}
import os

from airflow_platform import flask_config

globals().update(flask_config.settings(os.environ, {{ toJson $own }}))
{{- end -}}
