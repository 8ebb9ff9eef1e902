"""The numbers on the page."""

from dataclasses import dataclass
from datetime import date

import pandas as pd

SENTIMENTS = ["negative", "neutral", "positive"]
WORST = 8


@dataclass(frozen=True)
class Summary:
    """What the page says of a day.

    Attributes:
        counts: Tickets of the day by sentiment, in the order of ``SENTIMENTS``.
        shares: The same as shares of all, 0 to 1.
        usual_negative: Share of negative tickets in the days before, 0 to 1; None when there are none.
        by_day: Tickets by day (rows, without gaps) and sentiment (columns).
        by_channel: Tickets by channel (rows, most negative share last) and sentiment (columns).
        worst: The negative tickets that the model is surest of, surest first.
    """

    day: date
    tickets: int
    counts: pd.Series
    shares: pd.Series
    usual_negative: float | None
    by_day: pd.DataFrame
    by_channel: pd.DataFrame
    worst: pd.DataFrame

    @property
    def headline(self) -> str:
        """The day in one sentence."""
        negative = f"{percent(self.shares['negative'])} of {self.tickets} tickets were negative"
        if self.usual_negative is None:
            return f"{negative}."
        points = round(100 * (self.shares["negative"] - self.usual_negative))
        if points == 0:
            return f"{negative}, as in the days before."
        return f"{negative}, {abs(points)} {'point' if abs(points) == 1 else 'points'} " + (
            "more than in the days before." if points > 0 else "less than in the days before."
        )


def summarise(day: date, today: pd.DataFrame, earlier: pd.DataFrame) -> Summary:
    """Return the numbers of ``day`` from its scores and those of earlier days."""
    counts = today["sentiment"].value_counts().reindex(SENTIMENTS, fill_value=0)
    earlier = earlier[~earlier["id"].isin(today["id"])]
    negative_today = today[today["sentiment"] == "negative"]
    columns = ["created_at", "sentiment"]
    everything = pd.concat([earlier[columns], today[columns]])
    by_day = table(everything["created_at"].dt.tz_convert("UTC").dt.normalize(), everything["sentiment"])
    by_channel = table(today["channel"], today["sentiment"])
    negative = by_channel["negative"] / by_channel.sum(axis=1)
    return Summary(
        day=day,
        tickets=len(today),
        counts=counts,
        shares=counts / max(len(today), 1),
        usual_negative=None if earlier.empty else float((earlier["sentiment"] == "negative").mean()),
        by_day=by_day.asfreq("D", fill_value=0),
        by_channel=by_channel.loc[negative.sort_values(kind="stable").index],
        worst=negative_today.sort_values(["confidence", "id"], ascending=[False, True]).head(WORST),
    )


def table(rows: pd.Series, sentiment: pd.Series) -> pd.DataFrame:
    """Return how many tickets there are by ``rows`` and sentiment, a column for each of ``SENTIMENTS``."""
    return pd.crosstab(rows, sentiment).reindex(columns=SENTIMENTS, fill_value=0)


def percent(share: float) -> str:
    """Return a share of 0 to 1 as whole per cent."""
    return f"{100 * share:.0f}%"
