"""Which tickets a day's model learns from."""

from sentiment_train.history import labelled_tickets


def ids(put, days):
    tickets, found = labelled_tickets(put.root, put.day, days)
    return sorted({id[0] for id in tickets["id"]}), [str(day) for day in found]


def test_the_days_up_to_the_day_and_none_after(put, labelled):
    put(put.before(-1), labelled(1, prefix="d"))
    put(put.day, labelled(1, prefix="c"))
    put(put.before(2), labelled(1, prefix="b"))
    put(put.before(3), labelled(1, prefix="a"))
    assert ids(put, days=3) == (["b", "c"], ["2026-01-29", "2026-01-31"])


def test_other_folders_and_days_without_tickets_are_left_alone(put, labelled, tmp_path):
    put(put.day, labelled(1, prefix="a"))
    (tmp_path / "acme/archive").mkdir()
    (tmp_path / "acme/2026-01-30").mkdir()
    assert ids(put, days=30) == (["a"], ["2026-01-31"])


def test_unlabelled_tickets_and_second_sights_are_left_out(put, labelled):
    tickets = labelled(2)
    tickets.loc[0, "label"] = None
    put(put.day, tickets)
    put(put.before(1), tickets)
    found, _ = labelled_tickets(put.root, put.day, 2)
    assert len(found) == 5
    assert found["id"].is_unique


def test_no_day_at_all(put):
    tickets, days = labelled_tickets(put.root, put.day, 30)
    assert (len(tickets), days) == (0, [])
