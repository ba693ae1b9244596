"""Bench row P5 takes minutes and runs seldom; what it writes and asks must fit the schema all the same."""

from tests.bench import million
from worker.ledger import Ledger


def test_every_query_of_the_bench_can_be_asked(database_url: str) -> None:
    million.fill(database_url, 1000)
    ledger = Ledger(database_url)
    questions = million.Questions(ledger).all()
    assert len(questions) > 60
    for ask in (*questions.values(), *million.Questions(ledger).gallery().values()):
        ask()
    ledger.close()
