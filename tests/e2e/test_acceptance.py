"""The pipeline on its toy input: what it leaves is what is kept beside it (`make acceptance`, with faults too)."""

from tests.acceptance.__main__ import run


def test_the_pipeline_leaves_what_is_kept(capfd):
    run("support/ticket_sentiment")
    out, err = capfd.readouterr()
    assert "The same: " in out
    assert "acceptance: ok DAG=ticket_sentiment__acme" in out
    # The lines of each task, each once.
    lines = [line for line in err.splitlines() if line.startswith("extract | [base] ")]
    assert any(line.startswith("extract | [base] ticket-extract: ") for line in lines)
    assert len(set(lines)) == len(lines)
