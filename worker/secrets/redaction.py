"""Redaction: everything that is logged or shown passes through here."""

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from math import ceil
from typing import Any, Literal

_HIDDEN = "[redacted]"
# JSON and other links escape their content, once or twice.
_SLASH = r"(?:\\*/|%(?:25)*2F)"
_BEFORE = r"(?:[?&#;]|\\u0026|%(?:25)*(?:3F|26|23))"
_EQUALS = r"(?:=|%(?:25)*3D)"
_VALUE = r"[^&\s\"'<>]+"
_PATTERNS = (
    # the token of a callback URL
    (
        re.compile(rf"({_SLASH}callbacks(?:{_SLASH}[^/\s%\\]+){{2}}{_SLASH})[^\s\"'<>?#&]+", re.IGNORECASE),
        rf"\1{_HIDDEN}",
    ),
    # the signature of a link (Discord, S3, Google, Azure, CloudFront), and anything that looks like a key
    (
        re.compile(rf"({_BEFORE}(?:ex|is|hm|se|sig|sign|auth|hmac|policy|X-Amz-[A-Za-z-]+|X-Goog-[A-Za-z-]+|"
                   rf"[A-Za-z_-]*(?:token|key|secret|signature|password|credential)){_EQUALS}){_VALUE}", re.IGNORECASE),
        rf"\1{_HIDDEN}",
    ),
    # the same names outside a link, as in a database's messages
    (
        re.compile(rf"((?<![\w-])[\w-]*(?:password|passwd|secret|token|hmac|auth)=)(?:'[^']*'|{_VALUE})",
                   re.IGNORECASE),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"(Bearer\s+)[^\s\"',]+", re.IGNORECASE), rf"\1{_HIDDEN}"),
    # the signature of an approval link
    (re.compile(r"(apr_[0-9a-f]+\.)[A-Za-z0-9_-]{16,}"), rf"\1{_HIDDEN}"),
    # the secret that signs our webhooks
    (re.compile(r"(whsec_)[A-Za-z0-9+/=_-]+"), rf"\1{_HIDDEN}"),
    # a token of our API; its first four characters may be shown
    (re.compile(r"(dk_(?:live|test)_)[A-Za-z0-9]{5,}"), rf"\1{_HIDDEN}"),
    # the password of a database or broker, up to the last @: it may itself contain one
    (re.compile(r"(://[^:/\s@]*:)[^/\s]+(@)"), rf"\1{_HIDDEN}\2"),
)  # fmt: skip

#: characters that move a terminal's cursor, color text, or hide preceding text
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_LINK = re.compile(r"https?://[^\s\"'<>]+", re.IGNORECASE)
_WORD_OF_A_LINK = re.compile(r"https?://\S+", re.IGNORECASE)
_USER = re.compile(r"(://)[^/?#]*@")

#: a file embedded in text, such as an image in options
_DATA_LINK = re.compile(r"(data:[\w.+/-]*;base64,)([A-Za-z0-9+/_-]+=*)")

_CHATTY = (
    "alembic",
    "boto3",
    "botocore",
    "celery.app.trace",
    "celery.worker.strategy",
    "kombu",
    "urllib3",
)


def redact(text: str) -> str:
    text = shorten_files(text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def shorten_files(value: Any) -> Any:
    """Replace each `data:` link in a text or JSON value with its type and size: it is not secret, but very long."""
    if isinstance(value, str):
        return _DATA_LINK.sub(lambda found: f"{found[1]}… ({_kilobytes(found[2])})", value)
    if isinstance(value, Mapping):
        return {name: shorten_files(item) for name, item in value.items()}
    return [shorten_files(item) for item in value] if isinstance(value, list | tuple) else value


def signatures_cut(value: Any) -> Any:
    """Remove user, query and fragment from each link with a secret in a text or JSON value."""
    if isinstance(value, str):
        return _LINK.sub(lambda found: _cut(found[0]), value)
    if isinstance(value, Mapping):
        return {name: signatures_cut(item) for name, item in value.items()}
    return [signatures_cut(item) for item in value] if isinstance(value, list | tuple) else value


def links_hidden(value: Any) -> Any:
    """Redact user text (prompt, options): only its links can contain secrets, and its files are too long to show."""
    if isinstance(value, str):
        return _WORD_OF_A_LINK.sub(lambda match: redact(match[0]), shorten_files(value))
    return _each(value, links_hidden)


def secrets_hidden(value: Any) -> Any:
    """Redact text from third parties: errors, events."""
    return redact(value) if isinstance(value, str) else _each(value, secrets_hidden)


def _each(value: Any, hide: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {str(name): hide(item) for name, item in value.items()}
    return [hide(item) for item in value] if isinstance(value, list | tuple) else value


def _cut(link: str) -> str:
    # The path may still contain one of our tokens.
    return link if redact(link) == link else redact(_USER.sub(r"\1", re.split("[?#]", link, maxsplit=1)[0]))


def _kilobytes(base64: str) -> str:
    return f"{ceil(len(base64.rstrip('=')) * 3 / 4 / 1000)} kB"


class RedactingFormatter(logging.Formatter):
    """Redacts the finished line, including the traceback: exceptions of HTTP libraries contain whole URLs."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        # Longest first: one secret may be part of another.
        self._secrets = sorted((secret for secret in secrets if len(secret) >= 8), key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        return self._hidden(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  so it is called by logging
        """Called for the part before a traceback."""
        fields = (f" {name}={_as_word(value)}" for name, value in _bound(record).items())
        line = super().formatMessage(record) + "".join(fields)
        # Third parties control parts of the line: none may start a new line that looks like one of ours.
        return _CONTROL.sub("?", line).replace("\n", "\n    ")

    def _hidden(self, text: str) -> str:
        text = redact(text)
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text


class JsonFormatter(RedactingFormatter):
    """One JSON object per line, including the traceback. Values are redacted before JSON escapes them."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        return json.dumps(self._each_hidden({**_bound(record), **fields}), ensure_ascii=False, default=str)

    def _each_hidden(self, value: Any) -> Any:
        if isinstance(value, bool | int | float | None):
            return value
        return (
            _each(value, self._each_hidden) if isinstance(value, Mapping | list | tuple) else self._hidden(str(value))
        )


def _bound(record: logging.LogRecord) -> Mapping[str, Any]:
    """Return the values that `worker.telemetry` has bound to the record."""
    return getattr(record, "bound", {})


def _as_word(value: Any) -> str:
    text = str(value)
    return text if re.fullmatch(r"[^\s\"=]+", text) else json.dumps(text, ensure_ascii=False)


def configure_logging(
    level: str, secrets: tuple[str, ...] = (), log_format: Literal["console", "json"] = "console"
) -> None:
    """Install one handler on the root logger, for our own and the libraries' log lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(secrets) if log_format == "json" else RedactingFormatter(secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # These libraries log each request at INFO, which for us is DEBUG.
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel("WARNING" if level != "DEBUG" else "INFO")


def described(error: BaseException) -> str:
    """Format an unexpected error for people: its type and its message."""
    return redact(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
