"""The program that decodes images for `worker.media.decoding`: without secrets, with little memory and time.

Standard input is a socket: for each image a REQUEST and its bytes come in, a REPLY and the reason against it go out
(none: it decodes). It ends when the socket's other side does. In an animation, it decodes the first frame, and more
until they have the pixels of the largest allowed image.
"""

import io
import resource
import signal
import socket
import struct
import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

#: Pillow's name of the format padded with zeros, width and height that the file must have (0: any), number of bytes
REQUEST = struct.Struct("!8sIIQ")
#: width, height, number of bytes of the reason
REPLY = struct.Struct("!IIH")
READY = b"R"

#: width x height of an image, and of all decoded frames of an animation; Midjourney's largest upscale has 17 million
MAX_PIXELS = 80_000_000
#: frames of an animation to decode: each takes 0.1 ms, however small
_MOST_PICTURES = 1000
_LONGEST_REASON = 300


def main(memory: int, cpu_seconds: int) -> None:
    # Loaded before the limits, and only by this program: the parent takes the names above from here.
    from PIL import GifImagePlugin, Image, JpegImagePlugin, WebPImagePlugin  # noqa: F401, PLC0415 - each registers its format

    # The parent is asked to stop in the same breath, and may still have images to finish; then the socket closes.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(each, signal.SIG_IGN)
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    with socket.socket(fileno=0) as parent, parent.makefile("rb") as requests:
        parent.sendall(READY)
        while len(header := requests.read(REQUEST.size)) == REQUEST.size:
            name, width, height, length = REQUEST.unpack(header)
            body = requests.read(length)
            if len(body) < length:
                return
            _limit(resource.RLIMIT_CPU, int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2])) + 1 + cpu_seconds)
            reason, size = _refusal(body, name.rstrip(b"\0").decode(), (width, height))
            answer = reason.encode("ascii", "replace")[:_LONGEST_REASON]
            parent.sendall(REPLY.pack(*size, len(answer)) + answer)


def _refusal(body: bytes, name: str, stated: tuple[int, int]) -> tuple[str, tuple[int, int]]:
    """Return why these bytes do not decode to an image of that format and size (or ""), and its size."""
    from PIL import Image  # noqa: PLC0415

    size = (0, 0)
    try:
        if name == "AVIF":
            from PIL import AvifImagePlugin  # noqa: PLC0415 - 10 MB that few need

            # Each thread takes memory of its own, and time that is counted.
            AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        with Image.open(io.BytesIO(body), formats=(name,)) as image:
            size = image.size
            pixels = size[0] * size[1]
            if stated not in {size, (0, 0)}:
                return f"it decodes to {size[0]} x {size[1]} pixels, but its header has {stated[0]} x {stated[1]}", size
            if pixels > MAX_PIXELS:
                return f"it has {size[0]} x {size[1]} pixels, above the limit of {MAX_PIXELS:,}", size
            image.load()
            # Viewers do not show an image after a JPEG's first one, such as a gain map.
            if name != "JPEG":
                _load_more(image, min(_MOST_PICTURES, MAX_PIXELS // pixels))
            size = image.size
    except MemoryError:
        return "decoding it takes too much memory", size
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises speaks about the image
        return f"{error}" or type(error).__name__, size
    return "", size


def _load_more(image: "Image", most: int) -> None:
    for number in range(1, most):
        try:
            image.seek(number)
        except EOFError:
            return
        image.load()


def _limit(what: int, amount: int) -> None:
    """The soft limit, so that the one for CPU can grow with each image; never above a stricter one from outside."""
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (amount if hard == resource.RLIM_INFINITY else min(amount, hard), hard))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
