"""A model and tickets."""

from datetime import UTC, datetime

import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline


@pytest.fixture
def model():
    """Return a classifier that knows three words."""
    words = ["good", "plain", "bad"]
    pipeline = Pipeline([("words", TfidfVectorizer()), ("classifier", LogisticRegression(C=100))])
    return pipeline.fit(words * 5, ["positive", "neutral", "negative"] * 5)


@pytest.fixture
def tickets():
    """Return a maker of tickets with these bodies."""

    def make(*bodies) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "id": [str(i) for i in range(len(bodies))],
                "created_at": pd.Series([datetime(2026, 1, 31, tzinfo=UTC)] * len(bodies), dtype="datetime64[us, UTC]"),
                "customer": "Ann",
                "subject": "Hello",
                "body": pd.Series(bodies, dtype=object),
                "channel": "email",
                "label": pd.Series([None] * len(bodies), dtype=object),
            }
        )

    return make
