"""The plots on the page, each as an SVG image."""

import io

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from ticket_report.summary import SENTIMENTS, percent

# Told apart by people who do not see red and green as different, too.
COLOURS = {"negative": "#c8503c", "neutral": "#c3cad3", "positive": "#2b7a9b"}
INK = "#1f2933"
FAINT = "#667380"
STYLE = {
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": "#d5dbe1",
    "axes.labelcolor": FAINT,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    # The same numbers give the same bytes.
    "svg.hashsalt": "ticket-report",
}


def by_day(counts: pd.DataFrame) -> str:
    """Draw a stacked column a day: how many tickets of each sentiment."""
    figure, axes = canvas(9.6, 3.2)
    places = range(len(counts))
    below = pd.Series(0, index=counts.index)
    for name in SENTIMENTS:
        axes.bar(places, counts[name], bottom=below, width=0.72, color=COLOURS[name], label=name)
        below = below + counts[name]
    step = max(1, -(-len(counts) // 12))
    shown = list(places)[::-1][::step][::-1]  # the last day always has its name
    axes.set_xticks(shown, [f"{counts.index[i]:%-d %b}" for i in shown])
    # A few days do not fill the whole width.
    axes.set_xlim(-0.6, max(len(counts), 7) - 0.4)
    axes.set_ylabel("tickets")
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=5)
    axes.grid(axis="y", color="#e8ecf0", zorder=0)
    axes.set_axisbelow(True)
    legend(axes)
    return svg(figure)


def by_channel(counts: pd.DataFrame) -> str:
    """Draw a bar a channel: the share of each sentiment."""
    figure, axes = canvas(4.7, 3.4)
    shares = counts.div(counts.sum(axis=1), axis=0)
    left = pd.Series(0.0, index=counts.index)
    rows = range(len(counts))
    names = [f"{channel}\n{n} tickets" for channel, n in counts.sum(axis=1).items()]
    for name in SENTIMENTS:
        axes.barh(rows, shares[name], left=left, height=0.62, color=COLOURS[name], label=name)
        for row, (start, share) in enumerate(zip(left, shares[name], strict=True)):
            if share >= 0.09:
                ink = INK if name == "neutral" else "white"
                axes.text(start + share / 2, row, percent(share), ha="center", va="center", color=ink, fontsize=9)
        left = left + shares[name]
    axes.set_yticks(rows, names, parse_math=False)  # a "$" in a channel's name is no formula
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0)
    legend(axes)
    return svg(figure)


def confusion(labels: list[str], matrix: list[list[int]]) -> str:
    """Draw how often the model and a person agreed, on tickets that the model had not seen."""
    figure, axes = canvas(4.7, 3.4)
    counts = pd.DataFrame(matrix, index=labels, columns=labels)
    shares = counts.div(counts.sum(axis=1).clip(lower=1), axis=0)
    blues = LinearSegmentedColormap.from_list("blues", ["#f3f6f9", COLOURS["positive"]])
    axes.imshow(shares, cmap=blues, vmin=0, vmax=1, aspect="auto")
    for row in range(len(labels)):
        for column in range(len(labels)):
            share = shares.iat[row, column]
            words = f"{counts.iat[row, column]}\n{percent(share)}"
            ink = "white" if share > 0.55 else INK
            axes.text(column, row, words, ha="center", va="center", color=ink)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("the model says")
    axes.set_ylabel("a person says")
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    # White lines between the cells.
    edges = [i - 0.5 for i in range(1, len(labels))]
    axes.hlines(edges, -0.5, len(labels) - 0.5, color="white", linewidth=3)
    axes.vlines(edges, -0.5, len(labels) - 0.5, color="white", linewidth=3)
    return svg(figure)


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure, its size in inches."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure, axes


def legend(axes: Axes) -> None:
    """Name the colours above the plot."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, handlelength=0.9, borderaxespad=0.4)


def svg(figure: Figure) -> str:
    """Return a figure as an SVG document."""
    file = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()
