"""A private copy of the file, which can be reread, checked to be UTF-8 text or a spreadsheet."""

import codecs
import hashlib
import io
import os
import tempfile
from typing import IO, BinaryIO

from tasks.usecases.batch_file.fault import refuse
from tasks.usecases.batch_file.misfits import misfit_of_head, nul_in

#: bytes; 50,000 rows of 5,000 characters fit
LARGEST = 256 * 1024 * 1024
_PIECE = 1 << 20
#: bytes around the first invalid one, from which the encoding is guessed
_SAMPLE = 32 * 1024
#: encoding → its common name; spreadsheets and editors write these
_ENCODINGS = {
    "cp1252": "Windows-1252 (Western European)",
    "cp1250": "Windows-1250 (Central European)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "cp932": "Shift JIS (Japanese)",
    "gb18030": "GB 18030 (Chinese)",
    "big5": "Big5 (Chinese)",
    "cp949": "CP949 (Korean)",
    "mac_roman": "Mac Roman",
}
_ZIP = b"PK\x03\x04"


class Spool:
    """`name`: of the file; `sha256`: of its bytes. The copy is deleted when it is closed."""

    def __init__(self, name: str, stream: BinaryIO) -> None:
        """Copy the stream. Raises RequestInvalid if it is too large, or neither UTF-8 text nor a ZIP file."""
        self.name = name
        # Mode 0600 and without a name: nobody else can open it, and nothing is left behind.
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="darkroom-batch-")  # noqa: SIM115
        try:
            self.sha256 = self._copied(stream)
        except BaseException:
            self.close()
            raise

    @property
    def is_zip(self) -> bool:
        return self.binary().read(len(_ZIP)) == _ZIP

    @property
    def descriptor(self) -> int:
        return self._file.fileno()

    def binary(self) -> io.BufferedReader:
        """Return a new reader with its own position."""
        return reader_of(self.descriptor)

    def text(self) -> io.TextIOWrapper:
        """Return a new reader without the byte order mark; line breaks stay as they are."""
        return io.TextIOWrapper(self.binary(), encoding="utf-8-sig", newline="")

    def close(self) -> None:
        self._file.close()

    def _copied(self, stream: BinaryIO) -> str:
        digest = hashlib.sha256()
        decoder = codecs.getincrementaldecoder("utf-8")()
        size, is_zip = 0, False
        # Read one byte more than allowed, to detect a larger file.
        while piece := stream.read(min(_PIECE, LARGEST + 1 - size)):
            if not size:
                is_zip = piece.startswith(_ZIP)
                if what := misfit_of_head(piece):
                    refuse(self.name, 1, 1, what)
            digest.update(piece)
            self._file.write(piece)
            if not is_zip:
                self._check(piece, size, decoder)
            size += len(piece)
            if size > LARGEST:
                what = (
                    f"the file is larger than the limit of {LARGEST >> 20} MB: split it, or check whether it ever ends"
                )
                self._refuse_at(LARGEST, what)
        if not is_zip:
            self._decode(b"", size, decoder, final=True)
        self._file.flush()
        return digest.hexdigest()

    def _check(self, piece: bytes, offset: int, decoder: codecs.IncrementalDecoder) -> None:
        if (nul := piece.find(b"\x00")) >= 0:
            self._refuse_at(offset + nul, nul_in(piece if not offset else b"", nul))
        self._decode(piece, offset, decoder)

    def _decode(self, piece: bytes, offset: int, decoder: codecs.IncrementalDecoder, *, final: bool = False) -> None:
        kept = len(decoder.getstate()[0])
        try:
            decoder.decode(piece, final)
        except UnicodeDecodeError as error:
            at = offset - kept + error.start
            self._refuse_at(at, f"the byte 0x{error.object[error.start]:02x} is not UTF-8; {self._advice(at)}")

    def _refuse_at(self, offset: int, what: str) -> None:
        """Refuse the file because of the byte at this offset."""
        self._file.flush()
        lines, left, before = 1, offset, b""
        reader = self.binary()
        while left and (piece := reader.read(min(_PIECE, left))):
            left -= len(piece)
            lines += piece.count(b"\n")
            before = piece[piece.rfind(b"\n") + 1 :] if b"\n" in piece else (before + piece)[-_PIECE:]
        refuse(self.name, lines, len(before.decode("utf-8-sig", "replace")) + 1, what)

    def _advice(self, at: int) -> str:
        """Name the encoding that these bytes are probably in."""
        from charset_normalizer import from_bytes  # noqa: PLC0415 - 10 MB, needed only for a wrong file

        self._file.flush()
        sample = os.pread(self.descriptor, _SAMPLE, max(0, at - _SAMPLE // 2))
        best = from_bytes(sample, cp_isolation=list(_ENCODINGS)).best()
        # Several often decode to the same text; the first is the most common.
        alike = (title for encoding, title in _ENCODINGS.items() if best and _decoded(sample, encoding) == str(best))
        title = next(alike, None)
        probably = f"it is probably {title}: " if title else ""
        return f"{probably}save the file as UTF-8 (in Excel: CSV UTF-8)"


def _decoded(sample: bytes, encoding: str) -> str | None:
    try:
        return sample.decode(encoding)
    except UnicodeDecodeError:
        return None


def reader_of(descriptor: int) -> io.BufferedReader:
    """Return a reader of an open file with its own position; closing it leaves the file open."""
    return io.BufferedReader(_Reader(descriptor), _PIECE)


class _Reader(io.RawIOBase):
    """Reads a file that others are reading, too."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: os.fstat(self._descriptor).st_size}[whence]
        self._at = begin + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = os.pread(self._descriptor, len(buffer), self._at)
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)
