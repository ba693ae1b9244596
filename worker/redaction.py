"""Secrets never leak: what is written to a log or shown to a person goes through here first."""

import logging
import re
import sys

_HIDDEN = "[redacted]"
_PATTERNS = (
    # the token of a callback URL
    (re.compile(r"(/callbacks/[^/\s]+/[^/\s]+/)[^\s\"'<>?#]+"), rf"\1{_HIDDEN}"),
    # the signature of a link: Discord, S3, Google, Azure, and what looks like a key
    (
        re.compile(r"([?&](?:ex|is|hm|se|sig|X-Amz-[A-Za-z-]+|X-Goog-[A-Za-z-]+|[A-Za-z_-]*(?:token|key|signature))=)"
                   r"[^&\s\"'<>]+", re.IGNORECASE),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"(Bearer\s+)[^\s\"',]+", re.IGNORECASE), rf"\1{_HIDDEN}"),
    (re.compile(r"(://[^:/\s@]*:)[^@/\s]+(@)"), rf"\1{_HIDDEN}\2"),
)  # fmt: skip


def redact(text: str) -> str:
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


class RedactingFormatter(logging.Formatter):
    """Redacts the finished line, traceback included: exceptions of HTTP libraries carry whole URLs."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._secrets = tuple(secret for secret in secrets if len(secret) >= 8)

    def format(self, record: logging.LogRecord) -> str:
        line = redact(super().format(record))
        for secret in self._secrets:
            line = line.replace(secret, _HIDDEN)
        return line


def configure_logging(level: str, secrets: tuple[str, ...] = ()) -> None:
    """One handler on the root logger, for our lines and those of every library."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # They tell each request at INFO, which is our DEBUG.
    for chatty in ("urllib3", "botocore", "boto3", "kombu", "alembic", "celery.worker.strategy", "celery.app.trace", "celery.beat"):
        logging.getLogger(chatty).setLevel("WARNING" if level != "DEBUG" else "INFO")
