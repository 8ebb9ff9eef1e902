"""What the database knows of the moment: run in a pod of the release, by ``kubectl exec … python -``.

It is sent there, so that a release of an older version can be asked too: it needs `airflow_platform.schema` alone.
"""

import json
import sys

from airflow_platform.schema import NotReady, connect

QUERY = """
    SELECT state, coalesce(executor, ''), count(*) FROM task_instance
    WHERE state IN ('running', 'restarting', 'queued', 'deferred', 'up_for_reschedule') GROUP BY 1, 2 ORDER BY 1, 2
"""


def main() -> None:
    try:
        with connect() as connection, connection.cursor() as cursor:
            cursor.execute(QUERY)
            tasks = [list(row) for row in cursor.fetchall()]
    except NotReady as error:
        sys.exit(str(error))
    print(json.dumps({"tasks": tasks}))


if __name__ == "__main__":
    main()
