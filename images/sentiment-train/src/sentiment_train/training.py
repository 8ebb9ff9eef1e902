"""A classifier and how well it does on tickets that it has not seen."""

from collections.abc import Sequence

import pandas as pd
import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report, confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from sentiment_train.errors import BadInput

MIN_PER_LABEL = 5
HELD_OUT = 0.25


def check(labels: Sequence[str], least: int) -> None:
    """Refuse labels that no classifier can be trained and measured on.

    Raises:
        BadInput: fewer than ``least`` labels, only one class, or a class with under ``MIN_PER_LABEL`` tickets.
    """
    counts = pd.Series(labels, dtype=object).value_counts().sort_index()
    listed = ", ".join(f"{label} {n}" for label, n in counts.items()) or "none"
    advice = "label more tickets, or extract those of more days"
    if counts.sum() < least:
        raise BadInput(f"too few labelled tickets: {counts.sum()} ({listed}), at least {least} are needed; {advice}")
    if len(counts) < 2:
        raise BadInput(f"only one class among the labelled tickets: {listed}; {advice}")
    if counts.min() < MIN_PER_LABEL:
        raise BadInput(f"a label has under {MIN_PER_LABEL} tickets: {listed}; {advice}")


def train(tickets: pd.DataFrame, seed: int) -> tuple[Pipeline, dict]:
    """Fit on three quarters of the tickets, measure on the rest.

    Args:
        tickets: subject, body and label of each.
        seed: Same tickets and seed, same model and metrics.

    Returns:
        The model that was measured (it takes ``texts()``), and its metrics, ready for JSON. Rows of
        ``confusion_matrix`` are true labels and columns predicted ones, both in the order of ``labels``.
    """
    # By id, so that the order in which the tickets were read does not matter.
    tickets = tickets.sort_values("id")
    seen, unseen, seen_labels, unseen_labels = train_test_split(
        texts(tickets), tickets["label"], test_size=HELD_OUT, stratify=tickets["label"], random_state=seed
    )
    model = Pipeline(
        [
            ("words", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=50_000)),
            ("classifier", LogisticRegression(class_weight="balanced", max_iter=1000, random_state=seed)),
        ]
    ).fit(seen, seen_labels)

    predicted = model.predict(unseen)
    labels = [str(label) for label in model.classes_]
    report = classification_report(unseen_labels, predicted, labels=labels, output_dict=True, zero_division=0)
    metrics = {
        "labels": labels,
        "labelled": {label: int((tickets["label"] == label).sum()) for label in labels},
        "trained_on": len(seen),
        "measured_on": len(unseen),
        "seed": seed,
        "accuracy": float((predicted == unseen_labels).mean()),
        # What always naming the most frequent label would reach.
        "baseline_accuracy": float((unseen_labels == seen_labels.mode()[0]).mean()),
        "macro_f1": float(report["macro avg"]["f1-score"]),
        "by_label": {
            label: {
                "precision": float(report[label]["precision"]),
                "recall": float(report[label]["recall"]),
                "f1": float(report[label]["f1-score"]),
                "tickets": int(report[label]["support"]),
            }
            for label in labels
        },
        "confusion_matrix": confusion_matrix(unseen_labels, predicted, labels=labels).tolist(),
        "scikit_learn": sklearn.__version__,
    }
    return model, metrics


def texts(tickets: pd.DataFrame) -> pd.Series:
    """Return what the classifier reads of each ticket."""
    return tickets["subject"] + "\n" + tickets["body"]
