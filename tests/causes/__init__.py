"""Each fault that a local cluster can have, provoked: what the task's log says of it, and how soon.

The same tasks are launched by the platform and by the stock operator. ``python -m tests.causes`` runs them, measures
from a watch of its own what Kubernetes shows and when, and writes ``docs/causes``; the pods as they were become cases
of the diagnosis' own tests.
"""
