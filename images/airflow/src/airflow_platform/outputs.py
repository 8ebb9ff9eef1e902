"""What a task declares that it writes."""

#: The annotation of a task's pod that names its addresses in S3, with spaces between them.
OUTPUTS = "airflow-platform/outputs"
