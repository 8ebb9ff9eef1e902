"""Command line of sentiment-score."""

import argparse
import io
import logging
import sys
from datetime import date

import pyarrow.parquet as pq

from sentiment_score import batches, scoring, storage
from sentiment_score.errors import BadInput

log = logging.getLogger("sentiment_score")


def main(argv: list[str] | None = None) -> int:
    """Run the task; return its exit code (see README.md)."""
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
    try:
        score(arguments(argv))
    except BadInput as error:
        print(f"sentiment-score: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"sentiment-score: {error}", file=sys.stderr)
        return 1
    return 0


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; on a wrong argument exit with code 2 and one line on stderr.

    Raises:
        BadInput: there is no such batch.
    """
    parser = argparse.ArgumentParser(prog="sentiment-score", usage=argparse.SUPPRESS)
    parser.add_argument("--root", required=True, help="the client's folder: s3://bucket/client, or a local path")
    parser.add_argument("--day", required=True, type=calendar_day, help="the day to score")
    parser.add_argument("--batch", required=True, type=int, help="which batch, counted from 0")
    parser.add_argument("--of", required=True, type=int, help="how many batches there are")
    args = parser.parse_args(argv)
    if not 0 <= args.batch < args.of:
        raise BadInput(f"no batch {args.batch} of {args.of}: the batches of {args.of} are 0 to {args.of - 1}")
    args.root = args.root.rstrip("/")
    return args


def calendar_day(text: str) -> date:
    """Return a date in ISO 8601."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a date such as 2026-01-31") from None


def score(args: argparse.Namespace) -> None:
    """Read, score, write."""
    folder = f"{args.root}/{args.day}"
    tickets = pq.read_table(io.BytesIO(read(f"{folder}/tickets.parquet", "ticket-extract"))).to_pandas()
    mine = batches.share(tickets, args.batch, args.of)
    log.info("Read: %d tickets, %d of them in batch %d of %d", len(tickets), len(mine), args.batch, args.of)
    model = scoring.load_model(read(f"{folder}/model.joblib", "sentiment-train"))

    scores = scoring.score(model, mine)
    counts = scores["sentiment"].value_counts().sort_index()
    data = scoring.to_parquet(scores)
    url = f"{folder}/scores/part-{args.batch}.parquet"
    storage.write(url, data)
    log.info("Wrote: %s, %d bytes", url, len(data))
    listed = ", ".join(f"{n} {label}" for label, n in counts.items()) or "none in this batch"
    log.info("sentiment-score: %d tickets scored: %s", len(scores), listed)


def read(url: str, writer: str) -> bytes:
    """Return what the task ``writer`` has left at ``url``.

    Raises:
        BadInput: nothing is there.
    """
    try:
        return storage.read(url)
    except FileNotFoundError:
        raise BadInput(f"nothing at {url}; {writer} writes it and has to run first") from None


if __name__ == "__main__":
    sys.exit(main())
