from collections import Counter
from datetime import UTC, date, datetime, timedelta

import pytest

from seed import tickets

MONDAY = date(2026, 6, 1)
NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def month():
    return [ticket for _, day in tickets.until("acme", NOW, 30) for ticket in day]


def test_a_day_is_the_same_each_time():
    assert tickets.of_day("acme", MONDAY) == tickets.of_day("acme", MONDAY)


def test_a_known_ticket_stays_as_it_was():
    """What is in a database must be what a new run would write."""
    first = tickets.of_day("acme", MONDAY)[0]
    assert (first.id, first.created_at, first.customer) == (
        "ACME-20260601-0001",
        datetime(2026, 6, 1, 0, 6, 29, tzinfo=UTC),
        "Tereza Dvořáková",
    )


@pytest.mark.parametrize("other", [("globex", MONDAY), ("acme", MONDAY + timedelta(days=1))])
def test_clients_and_days_differ(other):
    bodies = {ticket.body for ticket in tickets.of_day("acme", MONDAY)}
    assert len(bodies & {ticket.body for ticket in tickets.of_day(*other)}) < 10


def test_tickets_are_of_their_day_in_order_with_ids_of_their_own():
    day = tickets.of_day("acme", MONDAY)
    assert all(ticket.created_at.date() == MONDAY for ticket in day)
    assert day == sorted(day, key=lambda ticket: (ticket.created_at, ticket.id))
    assert len({ticket.id for ticket in day}) == len(day)


def test_working_days_are_busier_than_weekends():
    assert 125 <= len(tickets.of_day("acme", MONDAY)) <= 175
    assert 55 <= len(tickets.of_day("acme", MONDAY + timedelta(days=5))) <= 80


def test_nothing_comes_from_the_future():
    days = dict(tickets.until("acme", NOW, 2))
    assert list(days) == [date(2026, 6, 29), date(2026, 6, 30)]
    whole = tickets.of_day("acme", date(2026, 6, 30))
    assert 0 < len(days[date(2026, 6, 30)]) < len(whole)
    assert max(ticket.created_at for ticket in days[date(2026, 6, 30)]) <= NOW
    assert days[date(2026, 6, 29)] == tickets.of_day("acme", date(2026, 6, 29))


def test_some_are_labelled_with_every_label(month):
    labels = Counter(ticket.label for ticket in month)
    assert 0.33 < 1 - labels.pop(None) / len(month) < 0.47
    assert labels.keys() == set(tickets.LABELS)
    assert min(labels.values()) > 0.2 * sum(labels.values())


def test_there_is_something_to_clean(month):
    texts = Counter((ticket.customer, ticket.subject, ticket.body) for ticket in month)
    assert any(not ticket.body.strip() for ticket in month)
    assert any("<p>" in ticket.body for ticket in month)
    assert any(ticket.body != ticket.body.strip() for ticket in month)
    assert texts.most_common(1)[0][1] > 1
