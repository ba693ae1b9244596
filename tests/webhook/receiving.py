"""Callbacks for the receiver, and what the ledger keeps of them."""

import secrets
from collections.abc import Callable, Sequence

from flask import Flask
from sqlalchemy import Row, select
from werkzeug.test import TestResponse

from tests.patience import wait_for
from tests.webhook.serving import KEYS
from worker.correlation import Signer
from worker.ledger import Ledger
from worker.ledger.schema import callbacks

SIGNER = Signer(KEYS)


def new_attempt() -> str:
    return secrets.token_hex(16)


def path_of(attempt_id: str, provider: str = "acedata") -> str:
    return SIGNER.callback_url("", provider, attempt_id)


def deliver(app: Flask, path: str, body: bytes = b'{"task_id": "t1"}', **headers: str) -> TestResponse:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    # A client of its own for each call: they are not made for several threads.
    return app.test_client().post(path, data=body, headers=names)


def rows(ledger: Ledger) -> Sequence[Row[tuple[object, ...]]]:
    """All callbacks that are kept, in the order of their arrival."""
    with ledger.database.read() as connection:
        return connection.execute(select(callbacks).order_by(callbacks.c.id)).all()


def until(done: Callable[[], object], seconds: float = 10) -> None:
    assert wait_for(done, seconds, pause=0.002), "it does not come to pass"
