"""The local cluster: everything that a laptop or CI needs to run the platform for real.

``python -m local.cluster up`` goes through the modules in this order: ``preflight`` (is there room), ``engine``
(Docker), ``images`` and ``node`` (what is built), ``registry``, ``kind`` (the cluster), ``releases`` (helm),
``dags`` (git push), ``smoke`` (the pipeline, once), ``access`` (what a person needs to go on).
"""
