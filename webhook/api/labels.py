"""Labels of a query string."""

from collections.abc import Iterable

from tasks.usecases.labels import check_labels
from webhook.api.reading import refused_at
from worker.errors import RequestInvalid


def labels_of(texts: Iterable[str]) -> dict[str, str]:
    """Return the labels, each given as `name:value`. Raises Refused."""
    labels = dict(one.partition(":")[::2] for one in texts)
    try:
        check_labels(labels)
    except RequestInvalid as error:
        told = f"{error}; give it as name:value, such as client:acme"
        raise refused_at("the query string is invalid", [{"parameter": "label", "detail": told}]) from error
    return labels
