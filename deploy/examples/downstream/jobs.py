"""A Celery project of its own: it gets Darkroom's events, and picks images for recipes. It needs no line of Darkroom.

celery -A jobs worker -Q shop -l info
"""

import os

from celery import Celery
from celery.utils.log import get_task_logger

app = Celery("jobs", broker=os.environ["REDIS_URL"])
log = get_task_logger(__name__)


@app.task(name="shop.on_event")  # DARKROOM_NOTIFY_TASKS=shop.on_event@shop
def on_event(event: dict) -> None:
    """An event may come twice, with the same task id: do again only what may be done twice."""
    log.info("%s %s", event["type"], event["data"].get("key"))


@app.task(name="shop.pick")  # in a recipe: pick: task shop.pick@shop
def pick(asked: dict) -> list[int]:
    """The numbers of the images that the step is for."""
    return asked["approval"]["images"][:1]
