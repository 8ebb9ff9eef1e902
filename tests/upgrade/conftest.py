"""Releases whose migrations Job moves the schema. Afterwards all is as before."""

pytest_plugins = ["tests.cluster"]
