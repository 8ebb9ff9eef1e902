"""What a task costs: the same work launched in every way that there is, on one cluster, in one run.

``python -m tests.bench run`` goes through the modules in this order: ``cases`` (what is run, in which order), ``work``
(the DAG and the bare pods), ``bare`` and ``dagrun`` (one case), measured by ``containers`` (containerd's clock),
``cgroups`` (processor time, memory) and ``waiting`` (memory of tasks that wait), then ``figures`` (numbers from
measurements) and ``page`` with ``plots`` (what a person reads). ``scale`` lets a thousand tasks wait, on the node
without a kubelet that ``stage`` plays.
"""
