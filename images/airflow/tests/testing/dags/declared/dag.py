"""The DAGs of dag.yaml, one a client."""

from airflow_platform.declared import load

load(__file__)
