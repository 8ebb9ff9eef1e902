"""A DAG end to end on the local cluster: on the toy input beside it, its outputs compared with those that are kept.

``python -m tests.acceptance DAG`` runs it as ``local.cluster.acceptance`` reads it; ``faults`` breaks real things
meanwhile.
"""
