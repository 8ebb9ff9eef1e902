"""A DAG whose runs are the history that an upgrade has to keep."""

from airflow.sdk import dag, task


@dag(dag_id="history", schedule=None)
def history():
    @task
    def measure():
        return {"temperature": 21}

    @task
    def report(found):
        print(found)

    report(measure())


history()
