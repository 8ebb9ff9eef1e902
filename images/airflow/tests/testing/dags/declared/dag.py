"""The DAGs of dag.yaml, one a client."""

from airflow_platform.yaml_dag import load

load(__file__)
