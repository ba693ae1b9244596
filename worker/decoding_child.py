"""The program that decodes images for `worker.decoding`: no secrets, little memory, little time, nothing of ours.

Standard input is a socket: for each image a REQUEST and its bytes come in, a REPLY and the reason against it go out
(none: it decodes). It ends when the other side of the socket does.
"""

import io
import resource
import signal
import socket
import struct
import sys
import warnings

#: Pillow's name of the format padded with zeros, width and height that the file states, number of bytes
REQUEST = struct.Struct("!8sIIQ")
#: number of bytes of the reason
REPLY = struct.Struct("!H")
READY = b"R"

_LONGEST_REASON = 300


def main(memory: int, cpu_seconds: int) -> None:
    # Loaded before the limits, and only by this program: the parent takes the three names above from here.
    from PIL import Image, JpegImagePlugin, WebPImagePlugin  # noqa: F401, PLC0415 - each registers its format

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
            reason = _refusal(body, name.rstrip(b"\0").decode(), (width, height))
            answer = reason.encode("ascii", "replace")[:_LONGEST_REASON]
            parent.sendall(REPLY.pack(len(answer)) + answer)


def _refusal(body: bytes, name: str, size: tuple[int, int]) -> str:
    """Why these bytes are not one image of that format and size that decodes to its last line; empty if they are."""
    from PIL import Image  # noqa: PLC0415

    try:
        with Image.open(io.BytesIO(body), formats=(name,)) as image:
            if image.size != size:
                return f"its decoder sees {image.width} x {image.height} pixels, its header says {size[0]} x {size[1]}"
            if getattr(image, "n_frames", 1) != 1:
                return "it holds more than one picture"
            image.load()
    except MemoryError:
        return "it takes more memory than a decoder may have"
    except Exception as error:  # noqa: BLE001 - whatever a decoder raises speaks about the image
        return f"{error}" or type(error).__name__
    return ""


def _limit(what: int, amount: int) -> None:
    """The soft limit, so that the one for CPU can grow with each image; never above a stricter one from outside."""
    _, hard = resource.getrlimit(what)
    resource.setrlimit(what, (amount if hard == resource.RLIM_INFINITY else min(amount, hard), hard))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
