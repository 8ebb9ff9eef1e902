"""Dumps of the metadata database in a bucket: made by the migrations Job before the schema moves, restored from there.

``pg_dump`` and ``psql`` run in containers of their own, from an image as new as the server. What is here comes before
and after them: ``python -m airflow_platform.backup prepare``, ``store`` and ``fetch``. Two folders lie between:
``/connection`` has the file by which those programs connect, and ``/backup`` the dump.
"""
