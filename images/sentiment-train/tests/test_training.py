"""What the classifier learns and how it is measured."""

import pandas as pd
import pytest

from sentiment_train.errors import BadInput
from sentiment_train.training import check, texts, train


def test_it_learns_what_the_words_say(labelled):
    model, metrics = train(labelled(20), seed=1)
    new = labelled(1)
    new["body"] = ["works well, thank you", "where do I change settings", "broken, nobody answers"]
    assert model.predict(texts(new)).tolist() == ["positive", "neutral", "negative"]
    assert metrics["accuracy"] == 1.0


def test_it_is_measured_on_tickets_that_it_has_not_seen(labelled):
    _, metrics = train(labelled(20), seed=1)
    assert (metrics["trained_on"], metrics["measured_on"]) == (45, 15)
    assert sum(map(sum, metrics["confusion_matrix"])) == 15
    assert metrics["labelled"] == {"negative": 20, "neutral": 20, "positive": 20}


def test_labels_without_meaning_are_not_learned(labelled):
    tickets = labelled(40)
    tickets["body"] = "always the same"
    _, metrics = train(tickets, seed=1)
    assert metrics["accuracy"] < 0.5


def test_the_baseline_is_the_most_frequent_label(labelled):
    tickets = pd.concat([labelled(30, ["negative"]), labelled(10, ["positive"])])
    _, metrics = train(tickets, seed=1)
    assert metrics["baseline_accuracy"] == pytest.approx(0.75, abs=0.06)


def test_rows_are_what_people_say_and_columns_what_the_model_says(labelled):
    # Twelve positive tickets that read like the 36 negative ones.
    odd = labelled(12, ["negative"], prefix="odd").assign(label="positive")
    _, metrics = train(pd.concat([labelled(36, ["negative"]), labelled(36, ["positive"]), odd]), seed=1)
    assert metrics["labels"] == ["negative", "positive"]
    (negative_right, negative_wrong), (positive_wrong, positive_right) = metrics["confusion_matrix"]
    assert (negative_right + negative_wrong, positive_wrong + positive_right) == (9, 12)
    assert positive_wrong > 0
    assert negative_wrong == 0


def test_the_order_of_the_tickets_does_not_matter(labelled):
    tickets = labelled(20)
    _, metrics = train(tickets, seed=1)
    _, shuffled = train(tickets.sample(frac=1, random_state=5), seed=1)
    assert metrics == shuffled


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([], "too few labelled tickets: 0 (none), at least 40 are needed"),
        (["positive"] * 20 + ["negative"] * 19, "too few labelled tickets: 39 (negative 19, positive 20)"),
        (["positive"] * 40, "only one class among the labelled tickets: positive 40"),
        (["positive"] * 40 + ["negative"] * 4, "a label has under 5 tickets: negative 4, positive 40"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(labels, says):
    with pytest.raises(BadInput) as error:
        check(labels, least=40)
    assert says in str(error.value)


def test_just_enough_is_enough():
    check(["positive"] * 35 + ["negative"] * 5, least=40)
