"""What is left of running tasks when a part of the platform goes away: nothing lost, nothing twice.

``python -m tests.faults`` goes through the modules in this order: ``scenarios`` (what goes away, and when) or
``upgrade`` (releases of the platform itself), ``trial`` (one scenario on one way to launch tasks), ``work`` (the DAGs,
whose tasks run ``dags/faults/hold.py``) with ``ledger`` (which container ran, and how many lines it printed),
``components`` and ``nodes`` (how a part is taken away and brought back), then the evidence: ``takeover`` (from a kill
to the next trigger that follows the pod), ``logs`` (numbered lines in S3 and in the API), ``verdict`` (figures from
evidence), and ``page`` (what a person reads).
"""
