"""Releases: a DAG folder as one immutable file, under DAG ids of its own, beside the versions that run already.

On the author's side: `source` takes the folder from git, `build` has its images pinned (`registry`) and its DAGs parsed
(`check`), `file` writes it down, `store` keeps it where the platform serves DAGs from, and `plan` says which version is
scheduled. Where Airflow reads DAGs: `loader` makes those of a release, `modules` keeps its modules apart, `timetable`
its schedule.
"""
