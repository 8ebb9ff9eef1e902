"""The page and its plots."""

import re
from base64 import b64decode
from datetime import date, timedelta
from xml.etree import ElementTree

import pytest

from ticket_report import plots
from ticket_report.page import render
from ticket_report.summary import summarise

DAY = date(2026, 1, 31)


@pytest.fixture
def html(scored, metrics):
    today = scored(DAY, "negative neutral positive " + "positive " * 1200)
    return render("acme", summarise(DAY, today, scored(DAY - timedelta(days=1), "negative neutral")), metrics)


def images(html):
    return [b64decode(data).decode() for data in re.findall(r'src="data:image/svg\+xml;base64,([^"]+)"', html)]


def test_it_says_who_when_and_what(html):
    assert "acme · support tickets · Saturday, 31 January 2026" in html
    assert "<h1>0% of 1203 tickets were negative, 50 points less than in the days before.</h1>" in html
    assert "<strong>1,203</strong>" in html
    assert "<strong>91%</strong>" in html
    assert "guessing would give 42%" in html


def test_it_has_three_plots_that_are_svg(html):
    assert len(images(html)) == 3
    for svg in images(html):
        assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"


def test_it_loads_nothing_from_elsewhere(html):
    assert "default-src 'none'" in html
    assert not re.findall(r'(?:src|href)="(?!data:)', html)
    assert "<script" not in html


def test_what_customers_write_is_shown_as_text(scored, metrics):
    today = scored(DAY, "negative", subject="<script>alert(1)</script>", customer="A & B", channel=r"$\frac$")
    page = render("acme", summarise(DAY, today, scored(DAY, "")), metrics)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "A &amp; B" in page
    assert "<script" not in page


def test_the_same_numbers_give_the_same_bytes(scored, metrics):
    numbers = summarise(DAY, scored(DAY, "negative neutral"), scored(DAY, ""))
    assert render("acme", numbers, metrics) == render("acme", numbers, metrics)


def test_a_day_without_a_negative_ticket(scored, metrics):
    page = render("acme", summarise(DAY, scored(DAY, "positive"), scored(DAY, "")), metrics)
    assert "no ticket of the day was negative" in page


def test_a_model_of_two_labels(scored, metrics):
    two = {**metrics, "labels": ["negative", "positive"], "confusion_matrix": [[3, 0], [0, 0]]}
    assert len(images(render("acme", summarise(DAY, scored(DAY, "negative"), scored(DAY, "")), two))) == 3


def test_columns_are_as_high_as_the_counts(scored, monkeypatch):
    """The plot itself, not its pixels: heights of the bars that matplotlib was given."""
    drawn = []
    monkeypatch.setattr(plots, "svg", drawn.append)
    before = scored(DAY - timedelta(days=1), "negative negative positive")
    plots.by_day(summarise(DAY, scored(DAY, "neutral"), before).by_day)
    bars = {c.get_label(): [bar.get_height() for bar in c] for c in drawn[0].axes[0].containers}
    assert bars == {"negative": [2, 0], "neutral": [0, 1], "positive": [1, 0]}


@pytest.mark.parametrize("days", [1, 2, 30, 365])
def test_the_last_day_always_has_its_name(scored, days, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "svg", drawn.append)
    first = scored(DAY - timedelta(days=days - 1), "negative")
    plots.by_day(summarise(DAY, scored(DAY, "neutral", prefix="x"), first).by_day)
    names = [label.get_text() for label in drawn[0].axes[0].get_xticklabels()]
    assert names[-1] == "31 Jan"
    assert len(names) <= 12
