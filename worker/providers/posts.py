"""How many submissions this thread has begun to send: if the number has not grown, nothing was sent."""

import threading

_posts = threading.local()


def count_post() -> None:
    _posts.begun = posts_begun() + 1


def posts_begun() -> int:
    return getattr(_posts, "begun", 0)
