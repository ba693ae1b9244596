"""Counts the submissions that this thread has begun to send: if the count has not grown, nothing was sent."""

import threading

_posts = threading.local()


def count_post() -> None:
    _posts.begun = posts_begun() + 1


def posts_begun() -> int:
    return getattr(_posts, "begun", 0)
