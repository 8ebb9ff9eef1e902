"""What a model says of tickets."""

import io
import pickle
import warnings

import joblib
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn
from sklearn.linear_model import LogisticRegression

from sentiment_score import scoring
from sentiment_score.errors import BadInput


def dumped(thing) -> bytes:
    file = io.BytesIO()
    joblib.dump(thing, file, compress=3)
    return file.getvalue()


def test_sentiment_confidence_and_score(model, tickets):
    scores = scoring.score(model, tickets("good", "plain", "bad"))
    assert scores["sentiment"].tolist() == ["positive", "neutral", "negative"]
    assert (scores["confidence"] > 0.8).all()
    positive, neutral, negative = scores["score"]
    assert positive > 0.8 > abs(neutral) + 0.6
    assert negative < -0.8


def test_a_model_of_two_labels(model, tickets):
    model.fit(["good", "plain"] * 5, ["positive", "neutral"] * 5)
    scores = scoring.score(model, tickets("good", "plain"))
    assert scores["sentiment"].tolist() == ["positive", "neutral"]
    assert scores["score"].between(0, 1).all()


@pytest.mark.parametrize("bodies", [(), ("good", "bad")], ids=["none", "two"])
def test_parquet_has_the_schema(model, tickets, bodies):
    data = scoring.to_parquet(scoring.score(model, tickets(*bodies)))
    table = pq.read_table(pa.BufferReader(data))
    assert table.schema.remove_metadata() == scoring.SCHEMA
    assert table.num_rows == len(bodies)


def test_a_model_is_read_back(model, tickets):
    read = scoring.load_model(dumped(model))
    assert scoring.score(read, tickets("bad"))["sentiment"].tolist() == ["negative"]


@pytest.mark.parametrize("data", [b"", b"not a model", pickle.dumps({"a": 1}), dumped(LogisticRegression())])
def test_what_is_no_model_is_refused(data):
    with pytest.raises(BadInput, match="the model"):
        scoring.load_model(data)


def test_a_model_of_another_scikit_learn_is_refused(model, monkeypatch):
    with monkeypatch.context() as patch, warnings.catch_warnings():
        patch.setattr(sklearn.base, "__version__", "1.2.3")
        data = dumped(model)
    with pytest.raises(BadInput, match=f"scikit-learn 1.2.3 wrote the model, {sklearn.__version__} is here"):
        scoring.load_model(data)
