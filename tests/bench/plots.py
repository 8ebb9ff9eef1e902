"""The plots of the page, each as an SVG image."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tests.bench.figures import number

#: Told apart by people who do not see red and green as different, too; ours in one hue.
COLOURS = {
    "bare": "#9aa5b1",
    "stock": "#c8503c",
    "stock-deferrable": "#e09a6a",
    "local": "#2b7a9b",
    "celery": "#6fb1c8",
}
GROUP_COLOURS = {
    "tasks' own pods": "#d5dbe1",
    "kubelet and containerd": "#b3bcc6",
    "other pods of the cluster": "#8f9aa6",
    "control plane": "#667380",
    "stand-ins": "#e5c46b",
    "workers": "#c8503c",
    "platform": "#2b7a9b",
}
INK, FAINT = "#1f2933", "#667380"
STYLE = {
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": "#d5dbe1",
    "axes.labelcolor": FAINT,
    "xtick.color": FAINT,
    "ytick.color": INK,
    "svg.fonttype": "none",
    # The same numbers give the same bytes.
    "svg.hashsalt": "airflow-platform",
}


def totals(results: Sequence[dict]) -> str:
    """A panel for each number of tasks: how long the run took, median with the least and the most."""

    def draw(axes: Axes, found: Sequence[dict]) -> None:
        for place, one in enumerate(found):
            total = one["total_s"]
            median = total["median"]
            reach = [[median - total["min"]], [total["max"] - median]]
            axes.barh(place, median, height=0.6, color=COLOURS[one["launch"]], xerr=reach, ecolor=INK, capsize=2.5)
            axes.annotate(number(median, "s"), (total["max"], place), (6, 0), textcoords="offset points", va="center")
        axes.set_xlabel("seconds, from the trigger to the end")

    return _panels(results, draw)


def overheads(results: Sequence[dict]) -> str:
    """A panel for each number of tasks: before the container starts and after it has ended, p50 and p95."""

    def draw(axes: Axes, found: Sequence[dict]) -> None:
        for place, one in enumerate(found):
            for key, shift, strength in (("launch_overhead_s", -0.19, 1.0), ("end_overhead_s", 0.19, 0.55)):
                values = one[key]
                if values["p50"] is None:
                    continue
                axes.barh(place + shift, values["p50"], height=0.34, color=COLOURS[one["launch"]], alpha=strength)
                axes.plot([values["p50"], values["p95"]], [place + shift] * 2, color=INK, linewidth=1)
                label = f"{number(values['p50'])} – {number(values['p95'])} s"
                axes.annotate(label, (values["p95"], place + shift), (5, 0), textcoords="offset points", va="center")
        axes.set_xlabel("seconds, p50 – p95; above: until the container starts; below: after it ended")

    return _panels(results, draw, height=0.62)


def processor(results: Sequence[dict]) -> str:
    """A panel for each number of tasks: processor seconds of a task, by who used them."""

    def draw(axes: Axes, found: Sequence[dict]) -> None:
        for place, one in enumerate(found):
            left = 0.0
            for group, colour in GROUP_COLOURS.items():
                used = max(one["cpu_s_per_task_by_group"].get(group, 0.0), 0.0)
                axes.barh(place, used, left=left, height=0.6, color=colour, label=group if place == 0 else None)
                left += used
            axes.annotate(number(left, "s"), (left, place), (6, 0), textcoords="offset points", va="center")
        axes.set_xlabel("processor seconds a task")

    return _panels(results, draw, legend=True)


def curve(points: Sequence[dict]) -> str:
    """Against the number of waiting tasks: the triggerer's processor use and memory."""
    counts = [one["n"] for one in points]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.4, 3.2), layout="constrained")
        panels = figure.subplots(1, 2)
        for axes, key, label in (
            (panels[0], "triggerer_cores", "triggerer, cores while all wait"),
            (panels[1], "triggerer_mib", "triggerer, MiB beyond none"),
        ):
            axes.plot(counts, [one[key] for one in points], color=COLOURS["local"], marker="o")
            axes.set_xlim(0, max(counts) * 1.05)
            axes.set_ylim(bottom=0)
            axes.set_xticks(counts)
            axes.set_xlabel("waiting tasks")
            axes.set_title(label, loc="left", fontsize=10)
            _bare(axes)
    return _svg(figure)


def _panels(
    results: Sequence[dict], draw: Callable[[Axes, Sequence[dict]], None], *, height: float = 0.42, legend: bool = False
) -> str:
    """A panel below the other for each number of tasks, with a scale of its own."""
    sizes = sorted({one["n"] for one in results})
    found = {n: [one for one in results if one["n"] == n] for n in sizes}
    heights = [height * len(found[n]) + 0.5 for n in sizes]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.4, sum(heights) + 0.5 * len(sizes)), layout="constrained")
        panels = figure.subplots(len(sizes), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
        for axes, n in zip(panels, sizes, strict=True):
            draw(axes, found[n])
            axes.set_yticks(range(len(found[n])), [one["launch"] for one in found[n]])
            axes.set_title(f"{n} {'task' if n == 1 else 'tasks'}", loc="left", fontsize=11, fontweight="bold")
            axes.invert_yaxis()
            axes.set_xlim(0, axes.get_xlim()[1] * 1.14)
            _bare(axes)
            if axes is not panels[-1]:
                axes.set_xlabel("")
        if legend:
            figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return _svg(figure)


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    with matplotlib.rc_context(STYLE):
        # On white: a page may be read on a dark background.
        figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None})
    return file.getvalue()
