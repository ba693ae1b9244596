"""The yardstick: the pipeline as a good tutorial has it, under the same faults. It knows nothing of Darkroom.

One Celery task submits, a Flask route takes the callback and starts a second task, which downloads the picture and puts
it into the bucket, so a download that is repeated submits nothing. What tutorials recommend for reliability is there:
late acknowledgement, redelivery from lost workers, `autoretry_for` with back-off, jitter and plenty of retries,
time-outs, an error for every status that is no success. It is spared the follow-ups that Darkroom has to make.
"""

import os
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import boto3
import requests
from celery import Celery
from flask import Flask, request

#: of its objects in the bucket, which it shares
PREFIX = "naive"

app = Celery("naive", broker=os.environ.get("NAIVE_BROKER"))
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # Instead of an hour, or what a dead worker held would not come back during the run; longer than any request takes.
    broker_transport_options={"visibility_timeout": 40},
)
web = Flask(__name__)

retry_everything = {
    "autoretry_for": (Exception,),
    "retry_backoff": True,
    "retry_backoff_max": 30,
    "retry_jitter": True,
    "max_retries": 10,
}


@app.task(**retry_everything)  # type: ignore[untyped-decorator]
def generate(name: str, prompt: str) -> None:
    answer = requests.post(  # noqa: TID251  the point of this program
        f"{os.environ['NAIVE_PROVIDER']}/midjourney/imagine",
        json={"action": "generate", "prompt": prompt, "callback_url": f"{os.environ['NAIVE_URL']}/callback/{name}"},
        headers={"Authorization": "Bearer any"},
        timeout=30,
    )
    answer.raise_for_status()


@web.post("/callback/<name>")
def callback(name: str) -> str:
    result = request.get_json()
    if result.get("success") and result.get("progress") == 100:
        store.delay(name, result["raw_image_url"])
    return "ok"


@web.get("/livez")
def livez() -> str:
    return "ok"


@app.task(**retry_everything)  # type: ignore[untyped-decorator]
def store(name: str, url: str) -> None:
    picture = requests.get(url, timeout=30)  # noqa: TID251
    picture.raise_for_status()
    s3().put_object(Bucket=os.environ["S3_BUCKET"], Key=object_key(name), Body=picture.content, ContentType="image/png")


@cache
def s3() -> Any:
    return boto3.client("s3")


def object_key(name: str) -> str:
    return f"{PREFIX}/{name}.png"


def name_of(callback_url: str) -> str:
    """The other way round, for the audit: which generation this was submitted for."""
    return urlsplit(callback_url).path.rpartition("/")[2]
