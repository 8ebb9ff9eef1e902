"""The commands of releases, one a module: each has ``add`` and ``run``, as `airflow_platform.cli` wants them."""
