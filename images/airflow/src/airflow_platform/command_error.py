"""What a command of ``airflow-platform`` ends with when it cannot do what was asked."""


class CommandError(Exception):
    """The message says why, and what to do; the command line prints it, and ends with 1."""
