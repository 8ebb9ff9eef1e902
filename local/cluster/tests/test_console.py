import os
import signal
import subprocess
import sys

import pytest
from local.cluster import console, settings
from local.cluster.console import Problem


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (72.4, "1 min 12 s"), (3725, "62 min 05 s")],
)
def test_duration(seconds, text):
    assert console.duration(seconds) == text


def test_a_step_says_how_it_ended(capsys):
    with console.step("Cluster") as current:
        current.note("3 nodes")
    with pytest.raises(ValueError), console.step("Release"):  # noqa: PT011 - whatever ends it
        raise ValueError
    assert capsys.readouterr().out == "  ok  Cluster: 3 nodes (0 s)\n  no  Release (0 s)\n"


def test_a_long_step_says_how_far_it_is_now_and_then(capsys, monkeypatch):
    clock = iter([0, 5, 16, 17, 40, 41])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.step("Image") as current:
        for number in (1, 2, 3, 4):
            current.note(f"step {number}/4")
    assert capsys.readouterr().out.splitlines() == [
        "  …   Image: step 2/4 (16 s)",
        "  …   Image: step 4/4 (40 s)",
        "  ok  Image: step 4/4 (41 s)",
    ]


def test_run_gives_and_keeps_what_a_program_says(tmp_path):
    seen = []
    (tmp_path / "in").write_bytes(b"input\n")
    with (tmp_path / "in").open("rb") as stdin:
        words = ["sh", "-c", "cat; echo $NAME >&2; pwd"]
        env = {"NAME": "value"}
        said = console.run(words, log="part", env=env, cwd=tmp_path, stdin=stdin, on_line=seen.append)
    assert said == f"input\nvalue\n{tmp_path}"
    assert seen == said.splitlines()
    console.run(["echo", "more"], log="part")
    assert (settings.STATE / "log" / "part.log").read_text() == f"{said}\nmore\n"


def test_run_reads_no_terminal():
    assert console.run(["cat"], log="part") == ""


def test_run_takes_what_is_not_utf_8():
    assert console.run(["printf", r"caf\351"], log="part") == "caf�"


def test_run_that_fails_shows_the_last_lines_and_names_the_log():
    with pytest.raises(Problem) as raised:
        console.run(["sh", "-c", "seq 100 140; exit 3"], log="part", doing="counting")
    first, *shown, last = str(raised.value).splitlines()
    assert first == "counting failed (exit 3):"
    assert [line.strip() for line in shown] == [str(number) for number in range(126, 141)]
    assert str(settings.STATE / "log" / "part.log") in last
    assert (settings.STATE / "log" / "part.log").read_text().startswith("100\n101\n")


def test_run_of_a_program_that_is_missing(bare_machine):
    with pytest.raises(Problem, match=r"no-such-program is not installed\n.*make up"):
        console.run(["no-such-program", "--version"], log="part")


def test_wait_for_gives_the_first_answer():
    answers = iter([None, OSError("not yet"), False, "there", "not asked for"])

    def check():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert console.wait_for("it", check, seconds=60, every=0) == "there"


def test_wait_for_says_what_did_not_come_and_why():
    def check():
        raise Problem("connection refused", "-")

    with pytest.raises(Problem, match=r"the registry: not within 0 s \(connection refused"):
        console.wait_for("the registry", check, seconds=0.01, every=0)
    with pytest.raises(Problem, match=r"^the registry: not within 0 s\n"):
        console.wait_for("the registry", lambda: None, seconds=0)


def test_wait_for_does_not_hide_a_mistake():
    with pytest.raises(ZeroDivisionError):
        console.wait_for("it", lambda: 1 / 0, seconds=60)


def test_a_command_that_ends_well():
    assert console.main(lambda: None) == 0


def test_a_problem_is_one_error_without_a_traceback(capsys):
    def command():
        raise Problem("port 8080 is in use", "Stop what listens there.")

    assert console.main(command) == 1
    shown = capsys.readouterr()
    assert shown.err == "error: port 8080 is in use\n       Stop what listens there.\n"
    assert shown.out == ""


def test_an_engine_that_goes_away_is_one_error_without_a_traceback(capsys):
    words = ["sh", "-c", "echo the daemon is gone >&2; exit 1"]
    assert console.main(lambda: subprocess.run(words, check=True, capture_output=True)) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: sh -c echo the daemon is gone")
    assert "(exit 1) the daemon is gone\n" in shown


def test_a_mistake_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        console.main(lambda: 1 / 0)


#: A command as `make` runs it, with a program under way; whoever runs the tests may have had SIGINT ignored.
INTERRUPTED = """
import signal, sys
from pathlib import Path
from local.cluster import console, settings
signal.signal(signal.SIGINT, signal.default_int_handler)
settings.STATE = Path(sys.argv[1])
words = ["sh", "-c", "echo running; read line"]
sys.exit(console.main(lambda: console.run(words, log="part", stdin=sys.stdin.buffer, on_line=console.say)))
"""


def test_ctrl_c():
    words = [sys.executable, "-c", INTERRUPTED, str(settings.STATE)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        words, cwd=settings.REPO, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as process:
        assert process.stdout.readline() == "running\n"
        # To the whole group, as a terminal does it.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=10)  # the program's input is still open: only the interrupt ends it
        assert process.returncode == 130
        assert process.stderr.read() == "interrupted: run the same command again to go on\n"
