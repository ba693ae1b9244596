"""The text of an error becomes a sentence; what has its own spelling keeps it."""

import pytest

from webhook.console.problems import as_sentence


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ("the batch is empty", "The batch is empty."),
        ("gen_01a22ba9b76700000000b7494a412ea7 is queued", "gen_01a22ba9b76700000000b7494a412ea7 is queued."),
        ("https://cdn.example is refused", "https://cdn.example is refused."),
        ("is it there?", "Is it there?"),
        ("", "."),
    ],
)
def test_a_sentence_begins_with_a_capital_unless_it_begins_with_an_id_or_an_address(told: str, sentence: str) -> None:
    assert as_sentence(told) == sentence
