"""The yardstick of P3: Celery as most tutorials set it up, with three tasks that do nothing."""

import os

import redis
from celery import Celery

app = Celery("null_chain", broker=os.environ["NULL_CHAIN_BROKER"])
app.conf.update(task_acks_late=True, task_ignore_result=True)
counter = redis.Redis.from_url(os.environ["NULL_CHAIN_BROKER"])


@app.task(name="first")
def first() -> None:
    second.delay()


@app.task(name="second")
def second() -> None:
    third.delay()


@app.task(name="third")
def third() -> None:
    counter.incr("done")
