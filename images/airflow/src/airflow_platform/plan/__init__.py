"""What an upgrade would do, said before it is done: which pods it restarts and why, what cannot be changed in place,
whether the database's schema moves, and which running tasks are touched.

`compare` is a pure function of two manifests, as helm renders them. The command has them of helm, and asks the
database which tasks run.
"""

from airflow_platform.plan.comparison import compare as compare
from airflow_platform.plan.manifest import read as read
