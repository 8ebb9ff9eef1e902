"""Tickets without HTML, stray whitespace, duplicates and empty texts."""

import unicodedata
from dataclasses import dataclass

import pandas as pd
from selectolax.lexbor import LexborHTMLParser

LABELS = ("positive", "neutral", "negative")


@dataclass(frozen=True)
class Counts:
    """How many tickets came in, were dropped and why, and were kept."""

    read: int
    same_id: int
    same_text: int
    empty: int
    unknown_label: int
    kept: int


def clean(tickets: pd.DataFrame) -> tuple[pd.DataFrame, Counts]:
    """Return the tickets worth scoring, oldest first, and what was dropped.

    A ticket is dropped when its body has no text, when its id was seen before, or when the same customer
    sent the same subject and body before. A label that is not one of ``LABELS`` is taken away, not the ticket.
    """
    read = len(tickets)
    tickets = tickets.sort_values(["created_at", "id"], kind="stable").drop_duplicates("id")
    same_id = read - len(tickets)

    tickets = tickets.assign(**{name: tickets[name].map(plain_text) for name in ("customer", "subject", "body")})
    has_text = tickets["body"] != ""
    empty = int((~has_text).sum())
    tickets = tickets[has_text]

    before = len(tickets)
    tickets = tickets.drop_duplicates(["customer", "subject", "body"])

    channel = tickets["channel"].map(plain_text).str.lower().replace("", "unknown")
    label = tickets["label"].map(plain_text).str.lower().replace("", None)
    unknown = label.notna() & ~label.isin(LABELS)
    tickets = tickets.assign(channel=channel, label=label.mask(unknown, None)).reset_index(drop=True)
    counts = Counts(
        read=read,
        same_id=same_id,
        same_text=before - len(tickets),
        empty=empty,
        unknown_label=int(unknown.sum()),
        kept=len(tickets),
    )
    return tickets, counts


def plain_text(value: str | None) -> str:
    """Return text without tags, entities, control characters and runs of whitespace; "" for None."""
    text = value or ""
    if "<" in text or "&" in text:
        page = LexborHTMLParser(text)
        page.strip_tags(["script", "style", "head"])
        text = page.root.text(separator=" ") if page.root else ""
    text = unicodedata.normalize("NFC", text)
    # Control and format characters (category C: NUL, zero-width space) carry no text.
    text = "".join(c if c.isspace() or unicodedata.category(c)[0] != "C" else " " for c in text)
    return " ".join(text.split())
