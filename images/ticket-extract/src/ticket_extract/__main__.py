"""Command line of ticket-extract."""

import argparse
import logging
import os
import sys
from datetime import UTC, datetime, timedelta

import pandas as pd

from ticket_extract import cleaning, parquet, source, storage
from ticket_extract.errors import BadInput, Unavailable

NO_TICKETS = 99

log = logging.getLogger("ticket_extract")


def main(argv: list[str] | None = None) -> int:
    """Run the task; return its exit code (see README.md)."""
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
    try:
        return extract(arguments(argv))
    except BadInput as error:
        print(f"ticket-extract: {error}", file=sys.stderr)
        return 2
    except (Unavailable, OSError) as error:
        print(f"ticket-extract: {error}", file=sys.stderr)
        return 1


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line.

    Raises:
        SystemExit: with code 2 and one line on stderr, on a wrong argument.
        BadInput: the interval is empty, or TICKETS_DSN is missing.
    """
    parser = argparse.ArgumentParser(prog="ticket-extract", usage=argparse.SUPPRESS)
    parser.add_argument("--root", required=True, help="the client's folder: s3://bucket/client, or a local path")
    parser.add_argument("--start", required=True, type=instant, help="first instant, ISO 8601 with its offset")
    parser.add_argument("--end", required=True, type=instant, help="first instant after the interval")
    parser.add_argument(
        "--label-days", type=positive, default=30, help="days before --end to take labelled tickets of (default: 30)"
    )
    parser.add_argument("--schema", help="schema of the table tickets (default: from the role's search_path)")
    args = parser.parse_args(argv)
    args.dsn = os.environ.get("TICKETS_DSN", "")
    if args.start >= args.end:
        raise BadInput(f"--start {args.start.isoformat()} is not before --end {args.end.isoformat()}")
    if not args.dsn:
        raise BadInput("the environment variable TICKETS_DSN is not set")
    return args


def instant(text: str) -> datetime:
    """Return an ISO 8601 instant in UTC; one without an offset is refused, for it could be any of 24."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not an ISO 8601 instant") from None
    if value.tzinfo is None:
        raise argparse.ArgumentTypeError(f"'{text}' has no offset from UTC; write {text}+00:00 or the like")
    return value.astimezone(UTC)


def positive(text: str) -> int:
    """Return a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number above 0")
    return int(text)


def extract(args: argparse.Namespace) -> int:
    """Read, clean, write; return 0, or ``NO_TICKETS``."""
    folder = f"{args.root.rstrip('/')}/{args.start.date()}"
    log.info("Interval: %s to %s", args.start.isoformat(), args.end.isoformat())
    tickets = source.read_tickets(args.dsn, args.start, args.end, args.schema)
    tickets, counts = cleaning.clean(tickets)
    log.info("Read: %d tickets", counts.read)
    log.info(
        "Dropped: %d with no text, %d with an id seen before, %d sent twice",
        counts.empty,
        counts.same_id,
        counts.same_text,
    )
    if counts.unknown_label:
        log.info("Taken as unlabelled: %d with a label other than %s", counts.unknown_label, ", ".join(cleaning.LABELS))
    if tickets.empty:
        log.info("ticket-extract: no ticket between %s and %s, nothing written", args.start, args.end)
        return NO_TICKETS
    write(f"{folder}/tickets.parquet", tickets)
    log.info("Channels: %s", ", ".join(f"{name} {n}" for name, n in tickets["channel"].value_counts().items()))

    # People label tickets days after they came in: ask again for those of earlier days.
    since = min(args.start, args.end - timedelta(days=args.label_days))
    labelled, _ = cleaning.clean(source.read_tickets(args.dsn, since, args.end, args.schema, labelled=True))
    labelled = labelled.dropna(subset="label")
    write(f"{folder}/labelled.parquet", labelled)
    log.info(
        "ticket-extract: %d of %d tickets kept; %d labelled ones since %s",
        counts.kept,
        counts.read,
        len(labelled),
        since.date(),
    )
    return 0


def write(url: str, tickets: pd.DataFrame) -> None:
    """Put tickets at ``url`` as Parquet."""
    data = parquet.to_parquet(tickets)
    storage.write(url, data)
    log.info("Wrote: %s, %d tickets, %d bytes", url, len(tickets), len(data))


if __name__ == "__main__":
    sys.exit(main())
