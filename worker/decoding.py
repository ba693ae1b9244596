"""Does an image decode: tried in a child process, because a forged one may attack the decoder."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO

from worker import decoding_child
from worker.decoding_child import READY, REPLY, REQUEST
from worker.errors import ContentInvalid, DownloadError

_PIECE = 256 * 1024
_PILLOW_NAMES = {"image/jpeg": b"JPEG", "image/webp": b"WEBP"}


@dataclass(frozen=True, slots=True)
class Limits:
    """`memory` in bytes of address space; times in seconds for one image; `images` after which a new child is taken."""

    memory: int = 1024 * 1024 * 1024
    cpu: int = 10
    wall: float = 20
    images: int = 500


class Decoder:
    """One child, started on first use, that decodes one image at a time for all threads of this process."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._turn = threading.Lock()
        self._child: _Child | None = None

    def decode(self, file: IO[bytes], content_type: str, size: tuple[int, int]) -> None:
        """Decode a JPEG or WebP image of `size` pixels and throw the result away.

        Raises ContentInvalid if it does not decode within the limits or kills its decoder twice, DownloadError if
        there is no decoder to be had.
        """
        if not self._turn.acquire(timeout=self._limits.wall):
            raise DownloadError("the image could not be checked: the decoder is busy with others")
        try:
            try:
                self._try(file, content_type, size)
            except _ChildDied:
                # Perhaps somebody else killed it; what kills the next one too is the image.
                self._try(file, content_type, size)
        except _ChildDied as error:
            raise ContentInvalid(f"the image does not decode: {error}") from error
        finally:
            self._turn.release()

    def close(self) -> None:
        """End the child, if there is one; the next image starts another."""
        with self._turn:
            self._end()

    def forget(self) -> None:
        """After a fork: the child belongs to the parent, and must not wait for the end of this process too."""
        if self._child is not None:
            self._child.link.close()

    def _try(self, file: IO[bytes], content_type: str, size: tuple[int, int]) -> None:
        if self._child is not None and self._child.images >= self._limits.images:
            self._end()
        if self._child is None:
            self._child = _Child(self._limits)
        try:
            reason = self._child.ask(file, content_type, size)
        except BaseException:
            # Whatever it was, an answer that is still to come would be taken for that to the next question.
            self._end()
            raise
        if reason:
            raise ContentInvalid(f"the image does not decode: {reason}")

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


class _ChildDied(Exception):
    """It ended without an answer."""


class _Child:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.images = 0
        self.link, theirs = socket.socketpair()
        program = (sys.executable, "-I", decoding_child.__file__, str(limits.memory), str(limits.cpu))
        with theirs:
            try:
                # Nothing of this process may leak into it: no environment, no open files but the socket.
                self._process = subprocess.Popen(  # noqa: S603 - our own program
                    program,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={},
                    cwd="/",
                )
            except OSError as error:
                self.link.close()
                raise DownloadError(f"the image could not be checked: no decoder starts: {error.strerror}") from error
        self._deadline = time.monotonic() + limits.wall
        try:
            self._receive(len(READY))
        except (_ChildDied, ContentInvalid) as error:
            self.end()
            raise DownloadError(
                f"the image could not be checked: the decoder does not start; see what it says: {' '.join(program)}"
            ) from error

    def ask(self, file: IO[bytes], content_type: str, size: tuple[int, int]) -> str:
        """Why the image does not decode; empty if it does. Raises ContentInvalid when its time is over."""
        self.images += 1
        self._deadline = time.monotonic() + self._limits.wall
        length = file.seek(0, os.SEEK_END)
        file.seek(0)
        self._send(REQUEST.pack(_PILLOW_NAMES[content_type], *size, length))
        while piece := file.read(_PIECE):
            self._send(piece)
        (length,) = REPLY.unpack(self._receive(REPLY.size))
        # A decoder that was taken over says what it likes.
        return "".join(sign if sign.isprintable() else "?" for sign in self._receive(length).decode("ascii", "replace"))

    def end(self) -> None:
        self.link.close()
        self._process.kill()
        self._process.wait()

    def _send(self, data: bytes) -> None:
        try:
            self._wait_at_most()
            self.link.sendall(data)
        except TimeoutError as error:
            raise self._too_slow() from error
        except OSError as error:
            raise self._died() from error

    def _receive(self, length: int) -> bytes:
        received = b""
        try:
            while len(received) < length:
                self._wait_at_most()
                part = self.link.recv(length - len(received))
                if not part:
                    raise self._died()
                received += part
        except TimeoutError as error:
            raise self._too_slow() from error
        except OSError as error:
            raise self._died() from error
        return received

    def _wait_at_most(self) -> None:
        # Zero would mean not to wait at all, which fails in another way.
        self.link.settimeout(max(0.001, self._deadline - time.monotonic()))

    def _too_slow(self) -> ContentInvalid:
        return ContentInvalid(f"the image does not decode within {self._limits.wall:g} s")

    def _died(self) -> Exception:
        try:
            # Its socket is closed a moment before it is gone, and how it ended is worth that moment.
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code == -signal.SIGXCPU:
            return ContentInvalid(f"the image does not decode within {self._limits.cpu} s of computing")
        return _ChildDied(f"its decoder ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}")


_decoder = Decoder()


def decode(file: IO[bytes], content_type: str, size: tuple[int, int]) -> None:
    """`Decoder.decode` with the one decoder of this process, which lives as long as the process does."""
    _decoder.decode(file, content_type, size)


def _after_fork() -> None:
    global _decoder  # noqa: PLW0603 - a forked worker process starts a child of its own
    _decoder.forget()
    _decoder = Decoder()


def _at_exit() -> None:
    _decoder.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
