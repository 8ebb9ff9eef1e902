"""Releases whose migrations Job moves the schema, on the cluster that is up; afterwards all is as before."""

pytest_plugins = ["tests.cluster"]
