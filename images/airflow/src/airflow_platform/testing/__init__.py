"""Tests of DAGs without a cluster: a pytest plugin, in which Airflow's own scheduler runs them in simulated time.

The fixtures are those of `airflow_platform.testing.plugin`; docs/testing.md says how to use them.
"""

from airflow_platform.testing.faults import Fault, every_transient_fault

__all__ = ["Fault", "every_transient_fault"]
