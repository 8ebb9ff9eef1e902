"""What is in a folder of DAGs: ``python -m airflow_platform.dag_guard.parse FOLDER`` prints it as JSON.

Each file is parsed in a process of its own, as the DAG processor does it, and by its code: what one imports is not
there for the next, a DAG that cannot be serialized is an error, and Airflow's database is asked for variables.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from airflow_platform import config, launcher

log = logging.getLogger(__name__)

#: The name of Airflow's bundle of these DAGs: `airflow-platform.bundles` of the chart.
BUNDLE = "dags"


@dataclass(frozen=True)
class Parsed:
    """The ids of a commit's DAGs, and its import errors: the file's path in the folder to the error's last line.

    ``sources`` has the MD5 of each file with an error, by which Airflow knows what is in a file of its DAGs. ``files``
    has the file of each DAG that Airflow has.
    """

    dags: list[str]
    errors: dict[str, str]
    sources: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def parse(folder: Path) -> Parsed:
    """Parse all DAG files of the folder."""
    # Before the fork, so that no file pays for it.
    import airflow.dag_processing.processor  # noqa: F401
    from airflow.utils.file import list_py_file_paths

    files = sorted(list_py_file_paths(folder))
    dags: list[str] = []
    errors: dict[str, str] = {}
    sources: dict[str, str] = {}
    for file in files:
        found = _parse_aside(folder, Path(file))
        dags += found.dags
        errors |= found.errors
        sources |= found.sources
    return Parsed(sorted(dags), errors, sources)


def _parse_aside(folder: Path, file: Path) -> Parsed:
    context = multiprocessing.get_context("fork")
    answer, send = context.Pipe(duplex=False)
    process = context.Process(target=lambda: send.send(_parse_file(folder, file)))
    process.start()
    send.close()
    try:
        return answer.recv()
    except EOFError:
        process.join()
        path = str(file.relative_to(folder))
        return Parsed([], {path: f"its process ended with {process.exitcode}"}, {path: _digest(file)})
    finally:
        # What it has imported may have left a thread that goes on.
        process.kill()
        process.join()
        answer.close()


def _parse_file(folder: Path, file: Path) -> Parsed:
    from airflow.dag_processing import processor

    request = processor.DagFileParseRequest(file=str(file), bundle_path=folder, bundle_name=BUNDLE)
    found = processor._parse_file(request, log)
    errors = {path: error.strip().splitlines()[-1] for path, error in found.import_errors.items()}
    return Parsed([dag.dag_id for dag in found.serialized_dags], errors, dict.fromkeys(errors, _digest(file)))


def _digest(file: Path) -> str:
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()


def main(arguments: list[str] | None = None) -> None:
    (folder,) = sys.argv[1:] if arguments is None else arguments
    # What a DAG file prints is no part of the answer, nor is what a program prints that it starts.
    with os.fdopen(os.dup(1), "w") as answer:
        os.dup2(2, 1)
        # The DAG processor answers from the database what a file asks for; its own guess would leave that out.
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
        launcher.preload(config.load().launcher.preload)
        # Files that do not parse are told once, by the guard.
        logging.disable()
        json.dump(asdict(parse(Path(folder))), answer)


if __name__ == "__main__":
    main()
