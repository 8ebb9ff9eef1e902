"""``airflow-platform compare``: what two runs have left behind, and where it is not the same.

`side` gathers what a run left, from Airflow and, by `storage`, from S3. `findings` compares two sides: files by
`content`, those that are tables by `table`, single values by `values`. `report` writes it down.
"""
