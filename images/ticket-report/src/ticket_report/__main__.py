"""Command line of ticket-report."""

import argparse
import json
import logging
import os
import sys
from datetime import date

# Matplotlib keeps its list of fonts there; the file system may be read-only but for /tmp.
os.environ.setdefault("MPLCONFIGDIR", "/tmp/matplotlib")

from ticket_report import history, page, storage, summary
from ticket_report.errors import BadInput

log = logging.getLogger("ticket_report")


def main(argv: list[str] | None = None) -> int:
    """Run the task; return its exit code (see README.md)."""
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)
    log.setLevel(logging.INFO)
    try:
        report(arguments(argv))
    except BadInput as error:
        print(f"ticket-report: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"ticket-report: {error}", file=sys.stderr)
        return 1
    return 0


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; on a wrong argument exit with code 2 and one line on stderr."""
    parser = argparse.ArgumentParser(prog="ticket-report", usage=argparse.SUPPRESS)
    parser.add_argument("--root", required=True, help="the client's folder: s3://bucket/client, or a local path")
    parser.add_argument("--client", required=True, help="the client's name on the page")
    parser.add_argument("--day", required=True, type=calendar_day, help="the day to show")
    parser.add_argument("--days", type=positive, default=30, help="days to plot, --day the last (default: 30)")
    parser.add_argument("--batches", required=True, type=positive, help="in how many batches the day was scored")
    args = parser.parse_args(argv)
    args.root = args.root.rstrip("/")
    return args


def calendar_day(text: str) -> date:
    """Return a date in ISO 8601."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a date such as 2026-01-31") from None


def positive(text: str) -> int:
    """Return a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


def report(args: argparse.Namespace) -> None:
    """Read, draw, write."""
    today = history.read_day(args.root, args.day, args.batches)
    earlier = history.read_earlier(args.root, args.day, args.days)
    log.info("Read: %d scored tickets of %s, %d of the days before", len(today), args.day, len(earlier))
    metrics = read_metrics(f"{args.root}/{args.day}/metrics.json")
    if today.empty:
        raise BadInput(f"no scored ticket on {args.day}: there is nothing to show")

    numbers = summary.summarise(args.day, today, earlier)
    html = page.render(args.client, numbers, metrics).encode()
    url = f"{args.root}/{args.day}/report.html"
    storage.write(url, html)
    log.info("Wrote: %s, %d bytes", url, len(html))
    counts = ", ".join(f"{n} {name}" for name, n in numbers.counts.items())
    log.info("ticket-report: %d tickets on one page: %s", numbers.tickets, counts)


def read_metrics(url: str) -> dict:
    """Return what sentiment-train measured.

    Raises:
        BadInput: the file is missing or is not JSON.
    """
    try:
        return json.loads(storage.read(url))
    except FileNotFoundError:
        raise BadInput(f"nothing at {url}; sentiment-train writes it and has to run first") from None
    except ValueError as error:
        raise BadInput(f"{url} is not JSON: {error}") from None


if __name__ == "__main__":
    sys.exit(main())
