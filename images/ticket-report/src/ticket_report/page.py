"""The page itself."""

from base64 import b64encode

from jinja2 import Environment, PackageLoader, StrictUndefined

from ticket_report import plots
from ticket_report.summary import SENTIMENTS, Summary, percent


def render(client: str, summary: Summary, metrics: dict) -> str:
    """Return the page as one HTML document that loads nothing from elsewhere.

    Args:
        metrics: metrics.json of sentiment-train.
    """
    environment = Environment(loader=PackageLoader("ticket_report", "."), autoescape=True, undefined=StrictUndefined)
    environment.filters["percent"] = percent
    return environment.get_template("page.html").render(
        client=client,
        summary=summary,
        metrics=metrics,
        sentiments=SENTIMENTS,
        colours=plots.COLOURS,
        by_day=data_url(plots.by_day(summary.by_day)),
        by_channel=data_url(plots.by_channel(summary.by_channel)),
        confusion=data_url(plots.confusion(metrics["labels"], metrics["confusion_matrix"])),
    )


def data_url(svg: str) -> str:
    """Return an SVG document as a URL to put into ``<img src>``."""
    return "data:image/svg+xml;base64," + b64encode(svg.encode()).decode()
