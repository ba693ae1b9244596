"""The program that decodes images for `worker.media.decoding`, without secrets and with little memory and time.

Standard input is a socket. For each image, a REQUEST and its bytes come in; a REPLY, the reason for a refusal (empty if
the image decodes) and the requested output (a thumbnail, or the quadrants of a grid) go out. The program ends when the
other end of the socket closes. Of an animation, it decodes the first frame, and more until their pixels add up to the
largest allowed image.
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
    from collections.abc import Iterator

    from PIL.Image import Image

#: Pillow's format name padded with zeros, required width and height (0: any), number of bytes, longest edge of the
#: thumbnail (0: none), whether the quadrants are requested
REQUEST = struct.Struct("!8sIIQH?")
#: width, height, bytes of the reason, bytes of each image
REPLY = struct.Struct("!IIH4I")
#: facts sent with a thumbnail: the image's average color and hash, and the thumbnail's width and height
FACTS = struct.Struct("!3sQHH")
READY = b"R"

#: width x height of an image, and of all decoded frames of an animation; Midjourney's largest upscale has 17 million
MAX_PIXELS = 80_000_000
#: frames of an animation to decode; even the smallest takes 0.1 ms
_MOST_PICTURES = 1000
_LONGEST_REASON = 300
#: modes that a PNG file can store without conversion
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
#: level for PNG; the highest takes three times as long and saves a twentieth
_COMPRESSION = 4
#: method for WebP; Pillow's default of 4 takes 5.4 ms per thumbnail instead of 2.1, and saves a twelfth
_EFFORT = 2


def main(memory: int, cpu_seconds: int) -> None:
    # Imported before the limits are set, and only in this program: the parent imports the names above from this module.
    from PIL import GifImagePlugin, Image, JpegImagePlugin, WebPImagePlugin  # noqa: F401, PLC0415 - each registers its format

    # The parent receives the same stop signal and may still have images to finish; then the socket closes.
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(each, signal.SIG_IGN)
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    with socket.socket(fileno=0) as parent, parent.makefile("rb") as requests:
        parent.sendall(READY)
        while len(header := requests.read(REQUEST.size)) == REQUEST.size:
            name, width, height, length, edge, is_cut = REQUEST.unpack(header)
            body = requests.read(length)
            if len(body) < length:
                return
            _limit(resource.RLIMIT_CPU, int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2])) + 1 + cpu_seconds)
            made: list[bytes] = []
            reason, size = _refusal(body, name.rstrip(b"\0").decode(), (width, height), made, edge, is_cut=is_cut)
            answer = reason.encode("ascii", "replace")[:_LONGEST_REASON]
            images = [] if reason else made
            lengths = [*map(len, images), 0, 0, 0, 0][:4]
            parent.sendall(REPLY.pack(*size, len(answer), *lengths) + answer)
            for image in images:
                parent.sendall(image)


class _Unfit(Exception):
    """Why we refuse an image that the decoder would accept."""


def _refusal(
    body: bytes, name: str, stated: tuple[int, int], made: list[bytes], edge: int, *, is_cut: bool
) -> tuple[str, tuple[int, int]]:
    """Return why these bytes do not decode to an image of this format and size ("" if they do), and the size.

    Appends to `made` the thumbnail with this `edge`, for which the image is not fully decoded, and its FACTS; or the
    quadrants.
    """
    from PIL import Image  # noqa: PLC0415

    size = (0, 0)
    try:
        _prepare(name)
        with Image.open(io.BytesIO(body), formats=(name,)) as image:
            size = image.size
            _check_size(size, stated)
            if edge:
                made.extend(_thumbnail(image, edge))
                return "", size
            image.load()
            if is_cut:
                made.extend(_quadrants(image))
            # Viewers do not show further images in a JPEG, such as a gain map.
            elif name != "JPEG":
                _load_more(image, min(_MOST_PICTURES, MAX_PIXELS // (size[0] * size[1])))
            size = image.size
    except MemoryError:
        return "decoding it takes too much memory", size
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises is about the image
        return f"{error}" or type(error).__name__, size
    return "", size


def _prepare(name: str) -> None:
    if name == "AVIF":
        from PIL import AvifImagePlugin  # noqa: PLC0415 - 10 MB that are rarely needed

        # Each thread takes additional memory, and its CPU time counts against the limit.
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    elif name == "PNG":
        # Only to make images from it: PNG files are checked without Pillow.
        from PIL import PngImagePlugin  # noqa: F401, PLC0415


def _check_size(size: tuple[int, int], stated: tuple[int, int]) -> None:
    if stated not in {size, (0, 0)}:
        raise _Unfit(f"it decodes to {size[0]} x {size[1]} pixels, but its header has {stated[0]} x {stated[1]}")
    if size[0] * size[1] > MAX_PIXELS:
        raise _Unfit(f"it has {size[0]} x {size[1]} pixels, above the limit of {MAX_PIXELS:,}")


def _thumbnail(image: "Image", edge: int) -> tuple[bytes, bytes]:
    # A JPEG is decoded only to the resolution needed.
    image.draft(None, (edge, edge))
    image.thumbnail((edge, edge))
    small = image.convert("RGBA" if image.has_transparency_data else "RGB")
    file = io.BytesIO()
    small.save(file, "WEBP", quality=75, method=_EFFORT)
    return file.getvalue(), FACTS.pack(_average(small), _dhash(small), *small.size)


def _average(image: "Image") -> bytes:
    from PIL.Image import Resampling  # noqa: PLC0415

    # Pillow weights each pixel by its opacity.
    return image.resize((1, 1), Resampling.BOX).tobytes()[:3]


def _dhash(image: "Image") -> int:
    """Return 64 bits, row by row: whether each of 8 x 8 areas is darker than the one to its right."""
    from PIL.Image import Resampling  # noqa: PLC0415

    grey = image.resize((9, 8), Resampling.BOX).convert("L").tobytes()
    bits = (grey[at] < grey[at + 1] for row in range(0, 72, 9) for at in range(row, row + 8))
    return sum(bit << place for place, bit in enumerate(bits))


def _quadrants(image: "Image") -> "Iterator[bytes]":
    """Yield PNG files in the order of Midjourney's numbers; if an edge is odd, the second half has one pixel more."""
    from PIL import PngImagePlugin  # noqa: F401, PLC0415 - only quadrants are written as PNG

    (width, height), (x, y) = image.size, (image.width // 2, image.height // 2)
    if not x or not y:
        raise _Unfit(f"it has {width} x {height} pixels, and so no quadrants")
    colours = {"icc_profile": image.info["icc_profile"]} if "icc_profile" in image.info else {}
    for box in ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)):
        part = image.crop(box)
        file = io.BytesIO()
        (part if part.mode in _PNG_MODES else part.convert("RGB")).save(
            file, "PNG", compress_level=_COMPRESSION, **colours
        )
        yield file.getvalue()


def _load_more(image: "Image", most: int) -> None:
    for number in range(1, most):
        try:
            image.seek(number)
        except EOFError:
            return
        image.load()


def _limit(what: int, amount: int) -> None:
    """Set a soft limit, so that the CPU limit can grow with each image; never above a stricter inherited one."""
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (amount if hard == resource.RLIM_INFINITY else min(amount, hard), hard))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
