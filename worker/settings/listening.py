"""The addresses on which our processes listen. A port that is in use is refused before anything starts."""

import errno
import socket
from collections.abc import Mapping

from worker.errors import ConfigurationError

_LOOPBACK = "127.0.0.1"
#: ports to try if API_PORT is unset
_API_PORTS = range(8001, 8101)


def receiver_address(env: Mapping[str, str]) -> dict[str, str]:
    """Return HOST and PORT. Raises ConfigurationError for a port that is in use or invalid."""
    # Without a public URL, no callbacks come from outside.
    is_called_back = env.get("PUBLIC_URL") or env.get("PUBLIC_URL_FILE")
    host = env.get("HOST") or ("0.0.0.0" if is_called_back else _LOOPBACK)  # noqa: S104 - the provider must reach it
    port = env.get("PORT") or "8000"
    _require_free("the receiver", host, "PORT", port)
    return {"HOST": host, "PORT": port}


def api_address(env: Mapping[str, str]) -> dict[str, str]:
    """Return API_HOST and API_PORT; an unset port becomes 8001, or the next free one.

    Raises ConfigurationError for a port that is in use or invalid.
    """
    host, port = env.get("API_HOST") or _LOOPBACK, env.get("API_PORT")
    if port:
        _require_free("the API", host, "API_PORT", port)
    else:
        port = _next_free(host)
    return {"API_HOST": host, "API_PORT": port}


def url_of(host: str, port: str | int) -> str:
    """Return the URL of a process that listens there."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _require_free(who: str, host: str, name: str, port: str) -> None:
    if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ConfigurationError(f"{name}: {port!r} is not a port number; set it to a number from 1 to 65535")
    try:
        _bind(host, int(port))
    except OSError as error:
        raise _refused(who, host, name, port, error) from error


def _next_free(host: str) -> str:
    for port in _API_PORTS:
        try:
            _bind(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise _refused("the API", host, "API_PORT", str(port), error) from error
        else:
            return str(port)
    raise ConfigurationError(
        f"the API cannot listen on {host}: all ports from {_API_PORTS[0]} to {_API_PORTS[-1]} are taken; "
        "set API_PORT to a free one"
    )


def _bind(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # Like the servers. They also share a port among their processes; this probe does not, so it detects them.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _refused(who: str, host: str, name: str, port: str, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{who} cannot listen on {name} {port} of {host}: {error.strerror}; "
        f"stop the program that uses it or set {name} to another number"
    )
