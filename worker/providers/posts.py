"""How many submissions this thread has begun to send: whoever sees no more than before knows that nothing was sent."""

import threading

_posts = threading.local()


def count_post() -> None:
    _posts.begun = posts_begun() + 1


def posts_begun() -> int:
    return getattr(_posts, "begun", 0)
