"""``airflow-platform run DAG``: a run from CI. `follow` tells how it goes on, `task_log` what its tasks print."""
