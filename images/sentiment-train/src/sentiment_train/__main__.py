"""Command line of sentiment-train."""

import argparse
import io
import json
import logging
import sys
from datetime import date

import joblib
import pyarrow.parquet as pq

from sentiment_train import storage, training
from sentiment_train.errors import BadInput

log = logging.getLogger("sentiment_train")


def main(argv: list[str] | None = None) -> int:
    """Run the task; return its exit code (see README.md)."""
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
    try:
        train(arguments(argv))
    except BadInput as error:
        print(f"sentiment-train: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"sentiment-train: {error}", file=sys.stderr)
        return 1
    return 0


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; on a wrong argument exit with code 2 and one line on stderr."""
    parser = argparse.ArgumentParser(prog="sentiment-train", usage=argparse.SUPPRESS)
    parser.add_argument("--root", required=True, help="the client's folder: s3://bucket/client, or a local path")
    parser.add_argument("--day", required=True, type=calendar_day, help="the day to write the model of")
    parser.add_argument("--least", type=positive, default=40, help="labelled tickets needed (default: 40)")
    parser.add_argument("--seed", type=int, default=1, help="of the split and the classifier (default: 1)")
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


def train(args: argparse.Namespace) -> None:
    """Read, train, measure, write."""
    folder = f"{args.root}/{args.day}"
    try:
        file = storage.read(f"{folder}/labelled.parquet")
    except FileNotFoundError:
        raise BadInput(f"nothing at {folder}/labelled.parquet; ticket-extract writes it and has to run first") from None
    tickets = pq.read_table(io.BytesIO(file)).to_pandas()
    log.info("Read: %d labelled tickets", len(tickets))
    training.check(tickets["label"], args.least)

    model, metrics = training.train(tickets, args.seed)
    days = tickets["created_at"].dt.date
    metrics["days"] = {"first": str(days.min()), "last": str(days.max()), "count": days.nunique()}
    log.info("Labels: %s", ", ".join(f"{label} {n}" for label, n in metrics["labelled"].items()))
    log.info("Trained on %d, measured on %d", metrics["trained_on"], metrics["measured_on"])
    for label, by in metrics["by_label"].items():
        log.info("%-8s precision %.2f, recall %.2f, f1 %.2f", label, by["precision"], by["recall"], by["f1"])

    file = io.BytesIO()
    joblib.dump(model, file, compress=3)
    storage.write(f"{folder}/model.joblib", file.getvalue())
    storage.write(f"{folder}/metrics.json", json.dumps(metrics, indent=2).encode())
    log.info("Wrote: %s/model.joblib, %d bytes", folder, len(file.getvalue()))
    log.info("Wrote: %s/metrics.json", folder)
    log.info(
        "sentiment-train: accuracy %.2f on %d held-out tickets, %.2f by always naming the most frequent label",
        metrics["accuracy"],
        metrics["measured_on"],
        metrics["baseline_accuracy"],
    )


if __name__ == "__main__":
    sys.exit(main())
