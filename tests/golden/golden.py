"""Documents compared with golden files: what programs read does not change unnoticed when code is moved about."""

import difflib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent / "documents"
#: how the golden files are renewed; what has changed is then read in the diff of the commit
SWITCH = "GOLDEN"

_KINDS = (
    (re.compile(r"\b(gen|batch|apr|ledger|sub|token|user|action|evt_test)_[0-9a-f]{16,}"), None),
    (re.compile(r"\b[0-9a-f]{32}\b"), "attempt"),
)
_CONSTANT = (
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:<port>"),
    (re.compile(r"\bdk_(live|test)_\w{40,}"), "<secret>"),
    (re.compile(r"\bdk_(live|test)_\w{4}\b"), "<hint>"),
    (re.compile(r"\bwhsec_[\w+/=]{40,}"), "<secret>"),
    (re.compile(r'"seconds": \d+\.\d+'), '"seconds": "<seconds>"'),
    # of a link that works for an hour
    (re.compile(r"\bX-Amz-[\w&%=.-]+"), "<signature>"),
)


class Placeholders:
    """Puts a stable word in the place of what is never the same twice; the same id gets the same word."""

    def __init__(self, known: Mapping[str, str]) -> None:
        """`known`: texts of this run, such as the name of its folder, and what stands for each."""
        self._known = sorted(known.items(), key=lambda item: -len(item[0]))
        self._words: dict[str, str] = {}
        self._numbers: dict[str, int] = {}

    def __call__(self, text: str) -> str:
        for known, word in self._known:
            text = text.replace(known, word)
        for pattern, kind in _KINDS:
            text = pattern.sub(lambda match, kind=kind: self._word(match[0], kind or match[1]), text)
        for pattern, word in _CONSTANT:
            text = pattern.sub(word, text)
        return text

    def _word(self, value: str, kind: str) -> str:
        if value not in self._words:
            self._numbers[kind] = self._numbers.get(kind, 0) + 1
            self._words[value] = f"<{kind} {self._numbers[kind]}>"
        return self._words[value]


class Golden:
    """Documents that belong together: the files of one folder, no more and no fewer."""

    def __init__(self, folder: str, known: Mapping[str, str] | None = None) -> None:
        self._folder = FOLDER / folder
        self._placeholders = Placeholders(known or {})
        self._found: dict[str, str] = {}

    def add(self, name: str, document: Any) -> None:
        self.add_text(f"{name}.json", f"{json.dumps(document, indent=1, ensure_ascii=False)}\n")

    def add_text(self, file_name: str, text: str) -> None:
        assert file_name not in self._found, f"two documents are named {file_name}"
        self._found[file_name] = self._placeholders(text)

    def compare(self) -> None:
        """Fail with a diff of every document that is not as its golden file has it."""
        kept = {file.name: file.read_text() for file in sorted(self._folder.glob("*"))}
        if os.environ.get(SWITCH) == "write":
            self._write(kept)
            return
        differences = [
            line
            for name in sorted(kept.keys() | self._found.keys())
            if kept.get(name) != self._found.get(name)
            for line in _difference(f"{self._folder.name}/{name}", kept.get(name, ""), self._found.get(name, ""))
        ]
        if differences:
            advice = f"documents changed; if they are meant to, run this test with {SWITCH}=write and look at the diff"
            pytest.fail("\n".join([advice, *differences]), pytrace=False)

    def _write(self, kept: Mapping[str, str]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in kept.keys() - self._found.keys():
            (self._folder / name).unlink()
        for name, text in self._found.items():
            (self._folder / name).write_text(text)


def _difference(name: str, kept: str, found: str) -> list[str]:
    lines = difflib.unified_diff(kept.splitlines(), found.splitlines(), f"golden {name}", f"now {name}", lineterm="")
    return ["", *lines]


def shape(value: Any) -> Any:
    """Keys and types of a document whose values are another machine's or another run's, recursively."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        different = {json.dumps(shape(one)): shape(one) for one in value}
        return [different[text] for text in sorted(different)]
    return "nothing" if value is None else type(value).__name__


def compare_shape(name: str, command: str, document: Any) -> None:
    """For a document of a whole machine: of it only the keys and types are the same each time."""
    golden = Golden(name)
    golden.add(name, {"command": command, "shape": shape(document)})
    golden.compare()
