"""The command ``airflow-platform``: in the image, and on any machine by ``pip install``.

Each sub-command is a module with two functions: ``add`` gives it its parser, ``run`` does it. What is heavy (Airflow
itself) they import where they need it, so that ``--help`` and mistakes cost nothing.
"""

from __future__ import annotations

import argparse
import sys
import traceback

from airflow_platform.command_error import CommandError
from airflow_platform.compare import command as compare
from airflow_platform.new import command as new
from airflow_platform.official_chart import command as convert_values
from airflow_platform.plan import command as plan
from airflow_platform.release.commands import archive, delete, promote, reinstate, release, retire, rollback
from airflow_platform.release.commands import list as list_releases
from airflow_platform.restore import command as restore
from airflow_platform.rules import command as check
from airflow_platform.run import command as run
from airflow_platform.why import command as why

#: The sub-commands, in the order in which the help names them.
_COMMANDS = (
    *(why, run, new, check),
    *(release, promote, rollback, retire, reinstate, archive, list_releases, delete, compare),
    *(plan, restore, convert_values),
)


def main(arguments: list[str] | None = None) -> int:
    """Run one sub-command; the exit code: its own, or, after an error, its ``on_error``."""
    parser = argparse.ArgumentParser(prog="airflow-platform", description="Ask and steer airflow-platform.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands).set_defaults(do=command.run)
    options = parser.parse_args(arguments)
    try:
        return options.do(options)
    except CommandError as error:
        print(f"error: {error}", file=sys.stderr)
        return getattr(options, "on_error", 1)
    except KeyboardInterrupt:
        return 130
    except Exception:
        # Not what Python ends with by itself, 1, which is a result of some commands.
        traceback.print_exc()
        return getattr(options, "on_error", 1)


if __name__ == "__main__":
    sys.exit(main())
