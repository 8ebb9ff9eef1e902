"""The way back to a backup: Airflow is stopped, the database restored, and Airflow, or an older release, started."""
