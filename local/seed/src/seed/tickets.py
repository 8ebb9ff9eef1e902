"""Support tickets of a client and a day: the same ones each time they are asked for.

They look like what a support desk collects: fewer at the weekend, some with a label of a person who read them, with
typos, mixed feelings, copies, HTML and empty texts.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from html import escape
from random import Random

from seed import phrases

LABELS = ("positive", "neutral", "negative")

_A_DAY = 150
_WEEKEND = 0.45  # of a working day's tickets
_LABELLED = 0.4
_MISLABELLED = 0.08  # by the person who read it
_AMBIGUOUS = 0.14  # says nothing that tells
_PLAIN_SUBJECT = 0.6
_MIXED = 0.3  # has a sentence of another mood
_TYPOS = 0.3
_COPY = 0.02  # sent twice
_EMPTY = 0.015
_HTML = 0.12
_UNTIDY = 0.1  # stray whitespace
_CHANNELS = {"email": 55, "web form": 25, "chat": 15, "phone": 5}
_MOODS = {"positive": 30, "neutral": 30, "negative": 40}
# A third of a day's tickets come in each of: before 10, 10 to 14, after 14 o'clock (UTC).
_HOURS = ((0, 10), (10, 14), (14, 24))


@dataclass(frozen=True)
class Ticket:
    """One row of a client's table ``tickets``."""

    id: str
    created_at: datetime
    customer: str
    subject: str
    body: str
    channel: str
    label: str | None


def of_day(client: str, day: date) -> list[Ticket]:
    """The tickets that came in on a day (UTC), oldest first."""
    random = Random(f"{client} {day.isoformat()}")
    busy = _WEEKEND if day.weekday() >= 5 else 1.0
    count = round(_A_DAY * busy * random.uniform(0.85, 1.15))
    moments = sorted(_moment(day, random) for _ in range(count))
    tickets: list[Ticket] = []
    for number, moment in enumerate(moments, start=1):
        id = f"{client.upper()}-{day:%Y%m%d}-{number:04d}"
        if tickets and random.random() < _COPY:
            tickets.append(replace(random.choice(tickets[-10:]), id=id, created_at=moment))
        else:
            tickets.append(_ticket(id, moment, client, random))
    return tickets


def until(client: str, now: datetime, days: int) -> Iterator[tuple[date, list[Ticket]]]:
    """Each of the last ``days`` days with its tickets; of today those that have come in by now."""
    for ago in reversed(range(days)):
        day = now.astimezone(UTC).date() - timedelta(days=ago)
        yield day, [ticket for ticket in of_day(client, day) if ticket.created_at <= now]


def _moment(day: date, random: Random) -> datetime:
    first, last = random.choice(_HOURS)
    seconds = random.randrange(first * 3600, last * 3600)
    return datetime.combine(day, time(), UTC) + timedelta(seconds=seconds)


def _ticket(id: str, moment: datetime, client: str, random: Random) -> Ticket:
    slots = _slots(client, random)
    mood = _weighted(_MOODS, random)
    label = None
    if random.random() < _LABELLED:
        label = random.choice(LABELS) if random.random() < _MISLABELLED else mood
    subjects = phrases.PLAIN_SUBJECTS if random.random() < _PLAIN_SUBJECT else phrases.SUBJECTS[mood]
    body = "" if random.random() < _EMPTY else _body(mood, slots, random)
    return Ticket(
        id=id,
        created_at=moment,
        customer=random.choice(phrases.CUSTOMERS),
        subject=_capitalised(random.choice(subjects).format(**slots)),
        body=_dirtied(body, random),
        channel=_weighted(_CHANNELS, random),
        label=label,
    )


def _body(mood: str, slots: dict[str, object], random: Random) -> str:
    if random.random() < _AMBIGUOUS:
        sentences = random.sample(phrases.AMBIGUOUS, k=random.randint(1, 2))
    else:
        sentences = random.sample(phrases.STATEMENTS[mood], k=random.randint(1, 2))
        if random.random() < _MIXED:
            other = random.choice([label for label in LABELS if label != mood])
            sentences.append(random.choice(phrases.STATEMENTS[other]))
    sentences += random.sample(phrases.CONTEXT, k=random.randint(1, 3))
    random.shuffle(sentences)
    text = " ".join(_capitalised(sentence.format(**slots)) for sentence in sentences)
    if random.random() < _TYPOS:
        text = _with_typos(text, random)
    greeting = [random.choice(phrases.GREETINGS)] if random.random() < 0.6 else []
    closing = [random.choice(phrases.CLOSINGS)] if random.random() < 0.5 else []
    return "\n".join([*greeting, text, *closing])


def _slots(client: str, random: Random) -> dict[str, object]:
    # By a hash that is the same in every process, so that a new client has a business too.
    business = phrases.BUSINESSES[zlib.crc32(client.encode()) % len(phrases.BUSINESSES)]
    return {
        **{name: random.choice(words) for name, words in business.items()},
        "agent": random.choice(phrases.CUSTOMERS).split()[0],
        "weekday": random.choice(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]),
        "order": f"{random.choice('ABCDEFGH')}{random.randrange(10_000, 99_999)}",
        "years": random.randint(2, 12),
        "weeks": random.randint(2, 8),
        "minutes": random.randint(5, 55),
        "count": random.randint(2, 30),
    }


def _with_typos(text: str, random: Random) -> str:
    words = text.split(" ")
    for index, word in enumerate(words):
        if len(word) > 3 and random.random() < 0.15:
            at = random.randrange(len(word) - 1)
            words[index] = random.choice(
                [
                    word[:at] + word[at + 1] + word[at] + word[at + 2 :],  # two letters swapped
                    word[:at] + word[at + 1 :],  # one missing
                    word[:at] + word[at] + word[at:],  # one doubled
                ]
            )
    return " ".join(words)


def _dirtied(body: str, random: Random) -> str:
    if random.random() < _UNTIDY:
        body = random.choice(["  {}\n\n\n", "\t{}", "\r\n{}\r\n\u00a0"]).format(body.replace(" ", "  ", 3))
    if body.strip() and random.random() < _HTML:
        paragraphs = "".join(f"<p>{escape(line)}</p>" for line in body.splitlines() if line.strip())
        return f'<div style="font-family:sans-serif">{paragraphs}<br/>&nbsp;</div>'
    return body


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _weighted(choices: dict[str, int], random: Random) -> str:
    return random.choices(list(choices), weights=list(choices.values()))[0]
