"""Sentiment of tickets by a trained model."""

import io
import warnings

import joblib
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import Pipeline

from sentiment_score.errors import BadInput

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("created_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("customer", pa.string(), nullable=False),
        pa.field("subject", pa.string(), nullable=False),
        pa.field("channel", pa.string(), nullable=False),
        pa.field("label", pa.string()),
        # The label that the model gives, and how sure it is of it, 0 to 1.
        pa.field("sentiment", pa.string(), nullable=False),
        pa.field("confidence", pa.float64(), nullable=False),
        # Probability of positive less that of negative, -1 to 1.
        pa.field("score", pa.float64(), nullable=False),
    ]
)


def load_model(data: bytes) -> Pipeline:
    """Return the model that sentiment-train wrote.

    A joblib file can run code when it is loaded: take it from storage that only the pipeline can write to.

    Raises:
        BadInput: the file is broken, or another version of scikit-learn wrote it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", InconsistentVersionWarning)
            model = joblib.load(io.BytesIO(data))
    except InconsistentVersionWarning as error:
        raise BadInput(
            f"scikit-learn {error.original_sklearn_version} wrote the model, {error.current_sklearn_version} is here; "
            "run sentiment-train and sentiment-score of one version"
        ) from None
    except Exception as error:  # unpickling broken bytes can raise anything
        raise BadInput(f"the model cannot be loaded: {type(error).__name__}: {error}") from None
    if not isinstance(model, Pipeline):
        raise BadInput(f"the model is a {type(model).__name__}, not what sentiment-train writes")
    return model


def score(model: Pipeline, tickets: pd.DataFrame) -> pd.DataFrame:
    """Return the tickets with the columns sentiment, confidence and score (see ``SCHEMA``)."""
    labels = [str(label) for label in model.classes_]
    if tickets.empty:  # the model refuses to predict nothing
        return tickets.assign(sentiment=pd.Series(dtype=str), confidence=0.0, score=0.0)
    texts = tickets["subject"] + "\n" + tickets["body"]
    chance = pd.DataFrame(model.predict_proba(texts), columns=labels, index=tickets.index)
    none = pd.Series(0.0, index=tickets.index)
    return tickets.assign(
        sentiment=chance.idxmax(axis=1),
        confidence=chance.max(axis=1),
        score=chance.get("positive", none) - chance.get("negative", none),
    )


def to_parquet(scores: pd.DataFrame) -> bytes:
    """Return the scores as one Parquet file with the columns of ``SCHEMA``."""
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pandas(scores[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()
