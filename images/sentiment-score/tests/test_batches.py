"""Which tickets are whose."""

import pandas as pd
import pytest

from sentiment_score.batches import share

TICKETS = pd.DataFrame({"id": [str(i) for i in range(1000)]})


@pytest.mark.parametrize("of", [1, 2, 7])
def test_every_ticket_is_in_exactly_one_batch(of):
    parts = [set(share(TICKETS, batch, of)["id"]) for batch in range(of)]
    assert set.union(*parts) == set(TICKETS["id"])
    assert sum(map(len, parts)) == 1000


def test_batches_are_of_like_size():
    assert all(200 < len(share(TICKETS, batch, 4)) < 300 for batch in range(4))


def test_a_share_depends_on_the_id_alone():
    # Known values: a retry in another release must take the same tickets.
    assert share(TICKETS.head(12), 0, 3)["id"].tolist() == ["7", "9", "10", "11"]
    assert set(share(TICKETS.sample(frac=1, random_state=2), 0, 3)["id"]) == set(share(TICKETS, 0, 3)["id"])


def test_a_share_of_nothing():
    assert share(TICKETS.iloc[:0], 0, 3).empty
