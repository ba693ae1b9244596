"""Labels such as `client=acme`: the rules for names and values."""

import re
from collections.abc import Iterable, Mapping

from tasks.shown import shown
from tasks.usecases.entry import UNSTORABLE
from worker.errors import RequestInvalid

#: maximum number of labels per generation
MOST_LABELS = 16
_NAME = re.compile(r"[a-z0-9_.-]{1,63}")
_LONGEST = 256


def read_labels(given: Iterable[str]) -> dict[str, str]:
    """Return name → value for texts of the form NAME=VALUE. Raises RequestInvalid as `check_labels` does."""
    labels: dict[str, str] = {}
    for text in given:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals:
            raise RequestInvalid(f"label {shown(text)!r} is not of the form name=value, such as client=acme")
        if name in labels:
            raise RequestInvalid(f"label {name!r} is given twice: a generation has one value per label")
        labels[name] = value
    check_labels(labels)
    return labels


def check_labels(labels: Mapping[str, str]) -> None:
    """Raise RequestInvalid for an invalid name or value, or for too many labels."""
    for name, value in labels.items():
        check_label_name(name)
        if not 1 <= len(value) <= _LONGEST:
            problem = f"has {len(value)} characters, the limit is {_LONGEST}" if value else "is empty"
            raise RequestInvalid(f"label {name!r}: its value {problem}")
        if UNSTORABLE.search(value):
            raise RequestInvalid(f"label {name!r}: its value {value!r} is not valid UTF-8: enter it again")
    if len(labels) > MOST_LABELS:
        raise RequestInvalid(f"{len(labels)} labels, the limit is {MOST_LABELS} per generation")


def check_label_name(name: str) -> None:
    """Raise RequestInvalid for a name that no label can have."""
    if not _NAME.fullmatch(name):
        raise RequestInvalid(
            f"label name {name!r}: use 1 to 63 of the characters a to z, 0 to 9, `_`, `.` and `-`, such as client"
        )
