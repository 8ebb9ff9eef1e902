"""The parts of the platform that run inside Airflow."""
