"""What ends the task with one line on stderr instead of a traceback."""


class BadInput(Exception):
    """The task was given what it cannot work with; a retry would not help (exit code 2)."""


class Unavailable(Exception):
    """Something that the task needs did not answer; a retry may help (exit code 1)."""
