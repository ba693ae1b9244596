"""The results of a batch as a file to download."""

import unicodedata
from datetime import timedelta
from pathlib import PurePath
from tempfile import TemporaryFile
from typing import IO
from urllib.parse import quote

from flask import Response
from werkzeug.datastructures import Headers
from werkzeug.wsgi import FileWrapper

from tasks.usecases.batches.results import Format, Output, ResultsRequest, export_results
from worker.errors import ConfigurationError
from worker.services import Services

#: bytes sent at a time
_PIECE = 256 * 1024


def results_file(
    here: Services, batch: str, wanted: Format, *, errors: bool = False, links: timedelta | None = None,
    mark: bool = False,
) -> Response:  # fmt: skip
    """Return every row, or with `errors` the failed ones; `mark` adds the byte order mark that spreadsheets want.

    Raises NotFound and RequestInvalid as `export_results` does, and ConfigurationError where no file can be written.
    """
    # Written completely before it is sent: errors can still be problems, and a slow reader holds no connection.
    out: IO[bytes] = TemporaryFile(prefix="darkroom-results-")  # noqa: SIM115 - closed with the response
    try:
        output = Output(wanted, out, mark=mark)
        exported = export_results(
            here,
            ResultsRequest(
                batch=batch, outputs=() if errors else (output,), errors=output if errors else None, links=links
            ),
        )
        size = out.tell()
        out.seek(0)
    except OSError as error:
        out.close()
        raise ConfigurationError(f"the results cannot be written to a temporary file: {error.strerror}") from error
    except BaseException:
        out.close()
        raise
    name = f"{PurePath(exported.batch).name or 'batch'}{'.errors' if errors else ''}.{wanted}"
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    names = {"filename": plain} if plain == name else {"filename": plain, "filename*": f"UTF-8''{quote(name, safe='')}"}
    headers = Headers()
    headers.set("Content-Disposition", "attachment", **names)
    response = Response(FileWrapper(out, _PIECE), headers=headers, content_type=wanted.content_type)
    response.content_length = size
    return response
