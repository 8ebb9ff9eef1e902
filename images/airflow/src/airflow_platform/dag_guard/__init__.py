"""Lets a commit of the DAGs' repository reach Airflow once it has been parsed, and not where it does harm.

``python -m airflow_platform.dag_guard`` runs beside a git-sync that follows the repository. Each new commit is parsed
in the shadow; a good one is handed on by a git server of its own, from which all other git-syncs of the release take
the DAGs. Why: docs/adr/0016-access.md.
"""
