"""Test-decodes images in a child process, because a forged image may attack the decoder.

One child serves all threads. A slow image continues in its own child, one image at a time; further slow images are
postponed, so that forged ones cannot exhaust memory or threads.
"""

import atexit
import hashlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO, NamedTuple

from worker.errors import ContentInvalid, DownloadError
from worker.media import decoding_child
from worker.media.decoding_child import FACTS, READY, REPLY, REQUEST
from worker.media.images import PIECE

_PILLOW_NAMES = {"image/jpeg": b"JPEG", "image/webp": b"WEBP", "image/gif": b"GIF", "image/avif": b"AVIF"}
_THUMBNAIL_NAMES = {**_PILLOW_NAMES, "image/png": b"PNG"}
#: bytes; a thumbnail has about ten thousand, a quadrant of the largest grid about 40 million
_LARGEST_MADE = 128 * 1024 * 1024
#: bytes; a thumbnail of 320 pixels of pure noise has 60,000
_LARGEST_THUMBNAIL = 1024 * 1024
#: how many slow images to remember, each by its first bytes
_MOST_REMEMBERED = 1000
_HEAD = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`memory`: bytes of address space; times: seconds per image; `images`: the child is replaced after this number.

    `quick`: how long an image may make others wait; `wall`: the limit in its own child, and for waiting for its turn.
    """

    memory: int = 1024 * 1024 * 1024
    cpu: int = 4
    quick: float = 2
    wall: float = 20
    images: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A small WebP image of this size in pixels, and facts about the large one.

    `colour`: the average, as 0xRRGGBB. `dhash`: 64 bits, of which few differ between images that look alike.
    """

    webp: bytes
    width: int
    height: int
    colour: int
    dhash: int


class Decoder:
    """Decodes images for all threads of this process; starts its child on first use."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._turn = threading.Lock()
        self._child: _Child | None = None
        self._slow_turn = threading.Lock()
        self._slow_child: _Child | None = None
        #: the fingerprints of slow images, oldest first
        self._slow: dict[bytes, None] = {}

    def decode(self, file: IO[bytes], content_type: str, size: tuple[int, int] | None) -> tuple[int, int]:
        """Decode an image of this `size` in pixels, discard the pixels and return its size.

        Raises ContentInvalid if the image does not decode within the limits or kills its decoder twice, DownloadError
        if no decoder is available.
        """
        return self._decoded(_Image(file, _PILLOW_NAMES[content_type], size or (0, 0))).size

    def thumbnail(self, file: IO[bytes], content_type: str, edge: int) -> Thumbnail | None:
        """Return an image of at most `edge` pixels per side; None if it is not an image. Raises like `decode`."""
        name = _THUMBNAIL_NAMES.get(content_type)
        if name is None:
            return None
        made = self._decoded(_Image(file, name, (0, 0), edge)).made
        # A compromised decoder may send anything.
        if len(made) != 2 or len(made[0]) > _LARGEST_THUMBNAIL or len(made[1]) != FACTS.size:
            raise ContentInvalid("its decoder made no thumbnail of it")
        colour, dhash, width, height = FACTS.unpack(made[1])
        return Thumbnail(webp=made[0], width=width, height=height, colour=int.from_bytes(colour), dhash=dhash)

    def quadrants(self, file: IO[bytes], content_type: str) -> tuple[bytes, ...]:
        """Return the four quadrants of a grid as PNG files, pixel for pixel, row by row.

        Raises like `decode`, and ContentInvalid if it is not an image.
        """
        name = _THUMBNAIL_NAMES.get(content_type)
        if name is None:
            raise ContentInvalid(f"a file of the type {content_type} has no quadrants")
        decoded = self._decoded(_Image(file, name, (0, 0), is_cut=True))
        if len(decoded.made) != 4:
            raise ContentInvalid(f"its decoder made {len(decoded.made)} quadrants of it")
        return decoded.made

    def _decoded(self, image: "_Image") -> "_Decoded":
        try:
            try:
                return self._try(image)
            except _ChildDied:
                # The image may not be to blame; if the next child dies too, it is.
                return self._try(image)
        except (_ChildDied, _Refused) as error:
            raise ContentInvalid(f"the image does not decode: {error}") from error

    def close(self) -> None:
        """Stop the child, if any; the next image starts another."""
        with self._turn:
            self._end()

    def forget(self) -> None:
        """Let go of the children after a fork: they belong to the parent and must not wait for this process."""
        for child in (self._child, self._slow_child):
            if child is not None:
                child.link.close()

    def _try(self, image: "_Image") -> "_Decoded":
        if image.fingerprint in self._slow:
            return self._slowly(image)
        if not self._turn.acquire(timeout=self._limits.wall):
            raise DownloadError("could not check the image: the decoder is busy")
        try:
            decoded = self._quickly(image)
            if decoded is not None:
                return decoded
            # The next image starts another child.
            asked, self._child = self._child, None
            self._slow[image.fingerprint] = None
            if len(self._slow) > _MOST_REMEMBERED:
                del self._slow[next(iter(self._slow))]
        finally:
            self._turn.release()
        return self._slowly(image, asked)

    def _quickly(self, image: "_Image") -> "_Decoded | None":
        """Return what the image decodes to; None if it is slow: then the child continues with it."""
        if self._child is not None and self._child.images >= self._limits.images:
            self._end()
        if self._child is None:
            self._child = _Child(self._limits)
        try:
            self._child.ask(image)
            if not self._child.answers_within(self._limits.quick):
                return None
            return self._child.answer()
        except _Refused:
            raise
        except BaseException:
            # After any error: a pending reply would be mistaken for the reply to the next request.
            self._end()
            raise

    def _slowly(self, image: "_Image", asked: "_Child | None" = None) -> "_Decoded":
        """Decode in a separate child, which may already have started on the image."""
        if not self._slow_turn.acquire(blocking=False):
            if asked is not None:
                asked.end()
            raise DownloadError("could not check the image: it is slow to decode, and so is another one right now")
        try:
            self._slow_child = asked or _Child(self._limits)
            try:
                if asked is None:
                    self._slow_child.ask(image)
                return self._slow_child.answer()
            finally:
                self._slow_child.end()
                self._slow_child = None
        finally:
            self._slow_turn.release()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()


class _ChildDied(Exception):
    """The child ended without a reply."""


class _Refused(Exception):
    """The child refused the image."""


class _Decoded(NamedTuple):
    size: tuple[int, int]
    made: tuple[bytes, ...]


class _Image:
    def __init__(
        self, file: IO[bytes], format_name: bytes, size: tuple[int, int], edge: int = 0, *, is_cut: bool = False
    ) -> None:
        self.file = file
        self.format_name = format_name
        self.size = size
        self.edge = edge
        self.is_cut = is_cut
        self.length = file.seek(0, os.SEEK_END)
        file.seek(0)
        self.fingerprint = hashlib.blake2b(file.read(_HEAD), digest_size=16).digest() + self.length.to_bytes(8)


class _Child:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.images = 0
        self.link, theirs = socket.socketpair()
        program = (sys.executable, "-I", decoding_child.__file__, str(limits.memory), str(limits.cpu))
        with theirs:
            try:
                # Nothing of this process may leak into the child: no environment, no open files except the socket.
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
                raise DownloadError(f"could not check the image: cannot start the decoder: {error.strerror}") from error
        self._deadline = time.monotonic() + limits.wall
        try:
            self._receive(len(READY))
        except (_ChildDied, ContentInvalid) as error:
            self.end()
            raise DownloadError(
                f"could not check the image: the decoder does not start; for its error run: {' '.join(program)}"
            ) from error

    def ask(self, image: _Image) -> None:
        self.images += 1
        self._deadline = time.monotonic() + self._limits.wall
        image.file.seek(0)
        self._send(REQUEST.pack(image.format_name, *image.size, image.length, image.edge, image.is_cut))
        while piece := image.file.read(PIECE):
            self._send(piece)

    def answers_within(self, seconds: float) -> bool:
        return bool(select.select([self.link], [], [], seconds)[0])

    def answer(self) -> _Decoded:
        """Return what the image decodes to. Raises _Refused, or ContentInvalid after the time limit."""
        width, height, length, *lengths = REPLY.unpack(self._receive(REPLY.size))
        # A compromised decoder may send anything.
        said = self._receive(length).decode("ascii", "replace")
        if said:
            raise _Refused("".join(sign if sign.isprintable() else "?" for sign in said))
        made = tuple(self._receive(min(one, _LARGEST_MADE)) for one in lengths if one)
        return _Decoded((width, height), made)

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
        received = bytearray()
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
        return bytes(received)

    def _wait_at_most(self) -> None:
        # Zero would mean non-blocking, which fails with a different error.
        self.link.settimeout(max(0.001, self._deadline - time.monotonic()))

    def _too_slow(self) -> ContentInvalid:
        return ContentInvalid(f"the image does not decode within {self._limits.wall:g} s")

    def _died(self) -> Exception:
        try:
            # Its socket closes shortly before it exits; wait for its exit code.
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if code == -signal.SIGXCPU:
            return ContentInvalid(f"the image does not decode within {self._limits.cpu} s of computing")
        return _ChildDied(f"its decoder ended with {signal.Signals(-code).name if code < 0 else f'exit code {code}'}")


_decoder = Decoder()


def decode(file: IO[bytes], content_type: str, size: tuple[int, int] | None) -> tuple[int, int]:
    """Call `Decoder.decode` of this process's single decoder, which lives as long as the process."""
    return _decoder.decode(file, content_type, size)


def thumbnail(file: IO[bytes], content_type: str, edge: int) -> Thumbnail | None:
    """Call `Decoder.thumbnail` of this process's single decoder."""
    return _decoder.thumbnail(file, content_type, edge)


def quadrants(file: IO[bytes], content_type: str) -> tuple[bytes, ...]:
    """Call `Decoder.quadrants` of this process's single decoder."""
    return _decoder.quadrants(file, content_type)


def _after_fork() -> None:
    global _decoder  # noqa: PLW0603 - a forked worker process starts its own child
    _decoder.forget()
    _decoder = Decoder()


def _at_exit() -> None:
    _decoder.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
