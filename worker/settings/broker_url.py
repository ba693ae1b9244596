"""REDIS_URL: its forms, and what Celery and redis-py need for each of them.

redis://[user:password@]host:6379/0, rediss:// (TLS), unix:///path?db=0, sentinel://[user:password@]host,host/0?master=NAME.
`valkey://` and `valkeys://` are read as redis:// and rediss://, and kombu's `redis+socket://` as unix://.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

_SAME = {"valkey": "redis", "valkeys": "rediss", "redis+socket": "unix"}
_SENTINEL_PORT, _REDIS_PORT = 26379, 6379
#: limit for connecting to a server
CONNECT_SECONDS = 2
#: limit for one sentinel, before trying the next
_SENTINEL_SECONDS = 2
_FORMS = (
    "redis://host:6379/0, rediss:// for TLS, unix:///path/to/socket?db=0, or "
    "sentinel://host:26379,host:26379/0?master=NAME"
)
_TLS = frozenset({"ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"})
#: the allowed query options
_QUERY = {
    "redis": frozenset({"db"}),
    "rediss": _TLS | {"db"},
    "unix": frozenset({"db", "virtual_host", "password"}),
    "sentinel": frozenset({"db", "master", "sentinel_password"}),
}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_CERT_REQS = {"cert_required": "required", "cert_optional": "optional", "cert_none": "none"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUrl:
    """A parsed broker URL. `hosts`: for a sentinel:// URL, the sentinels."""

    scheme: str
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)
    hosts: tuple[tuple[str, int], ...]
    path: str
    db: int
    tls: Mapping[str, Any]
    master: str
    sentinel_password: str | None = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return its passwords, decoded and as written in the URL."""
        passwords = [one for one in (self.password, self.sentinel_password) if one]
        return tuple(dict.fromkeys([*passwords, *(quote(one, safe="") for one in passwords)]))


def read_broker_url(url: str) -> BrokerUrl:
    """Parse a broker URL. Raises ValueError, whose text shows no part that may be a password."""
    found = _SCHEME.match(url)
    if found is None:
        raise ValueError(f"this is not a broker URL; write {_FORMS}")
    scheme = _SAME.get(found[1].lower(), found[1].lower())
    if scheme not in _QUERY:
        raise ValueError(f"{found[1]}:// is not supported: the broker is Redis or Valkey; write {_FORMS}")
    try:
        # Take out the hosts: newer Python versions reject brackets in a list of hosts.
        begin, named, rest = _parts(url[found.end() :])
        parts = urlsplit(f"{scheme}://{begin}{rest}")
        username, password = parts.username, parts.password
        hosts = tuple(_hosts(named, _SENTINEL_PORT if scheme == "sentinel" else _REDIS_PORT))
    except ValueError as error:
        # Python's own messages show what could not be parsed, which may be part of the password.
        raise ValueError(_unreadable(scheme)) from error
    if parts.fragment or (scheme == "unix" and hosts) or (scheme != "sentinel" and len(hosts) > 1):
        raise ValueError(_unreadable(scheme))
    if scheme == "sentinel" and not hosts:
        raise ValueError("it has no sentinels: write sentinel://host:26379,host:26379/0?master=NAME")
    query = _query(parts, scheme)
    path = unquote(parts.path)
    if scheme == "unix" and path in {"", "/"}:
        raise ValueError("it has no socket: write unix:///run/redis/redis.sock?db=0")
    if scheme == "sentinel" and not query.get("master"):
        raise ValueError("name the sentinels' master: sentinel://host:26379/0?master=NAME")
    db = query.get("db") or query.get("virtual_host") or ("" if scheme == "unix" else path.strip("/"))
    if db and not re.fullmatch(r"[0-9]{1,9}", db):
        raise ValueError("its database must be a number from 0, as in redis://host:6379/0")
    given = unquote(password) if password else query.get("password")
    return BrokerUrl(
        scheme=scheme,
        username=unquote(username) if username else None,
        password=given or None,
        hosts=hosts or (() if scheme == "unix" else (("127.0.0.1", _REDIS_PORT),)),
        path=path if scheme == "unix" else "",
        db=int(db or 0),
        tls=_tls(query) if scheme == "rediss" else {},
        master=query.get("master", ""),
        sentinel_password=query.get("sentinel_password") or None,
    )


class CeleryBroker(NamedTuple):
    """A broker in terms of Celery's configuration. `transport_options`: only those that its kind needs."""

    url: str
    use_ssl: dict[str, Any] | None
    transport_options: dict[str, Any]


def celery_broker(url: str) -> CeleryBroker:
    """Return the broker in Celery's terms. Raises ValueError like `read_broker_url`."""
    broker = read_broker_url(url)
    options: dict[str, Any] = {}
    if broker.scheme == "sentinel":
        options = {"master_name": broker.master, "sentinel_kwargs": _asking_sentinels(broker, _SENTINEL_SECONDS)}
    # Without the TLS options, kombu would accept any certificate.
    return CeleryBroker(";".join(_kombu_urls(broker)), dict(broker.tls) or None, options)


@contextmanager
def redis_client(url: str, seconds: float) -> Iterator[Any]:
    """Yield a client from `open_redis`, and close it at the end."""
    client = open_redis(url, seconds)
    try:
        yield client
    finally:
        client.close()
        manager = getattr(client.connection_pool, "sentinel_manager", None)
        for sentinel in manager.sentinels if manager else ():
            sentinel.close()


def open_redis(url: str, seconds: float) -> Any:
    """Return a redis-py client with this timeout, for our own commands; its methods raise RedisError or OSError."""
    # Imported here, because only commands to the broker need the library.
    from redis import Redis  # noqa: PLC0415
    from redis.sentinel import Sentinel  # noqa: PLC0415

    broker = read_broker_url(url)
    login = {"username": broker.username, "password": broker.password, "db": broker.db, **_waiting(seconds)}
    if broker.scheme == "sentinel":
        asking = _asking_sentinels(broker, seconds)
        manager: Any = Sentinel(broker.hosts, sentinel_kwargs=asking, **login)  # type: ignore[no-untyped-call]
        return manager.master_for(broker.master)
    (host, port), *_ = broker.hosts or (("", 0),)
    where = {"unix_socket_path": broker.path} if broker.path else {"host": host, "port": port}
    return Redis(**where, **login, ssl=bool(broker.tls), **broker.tls)


def _parts(url: str) -> tuple[str, str, str]:
    """Split what follows the scheme into user and password (with the @), hosts, and everything after them."""
    authority = re.match(r"[^/?#]*", url)
    end = authority.end() if authority else 0
    user, at, hosts = url[:end].rpartition("@")
    return f"{user}{at}", hosts, url[end:]


def _hosts(named: str, port: int) -> Iterator[tuple[str, int]]:
    for one in filter(None, named.split(",")):
        host = urlsplit(f"//{one}")
        if not host.hostname:
            raise ValueError("no host")
        yield unquote(host.hostname), port if host.port is None else host.port


def _query(parts: SplitResult, scheme: str) -> dict[str, str]:
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(query.keys() - _QUERY[scheme]):
        if not all(name.isidentifier() for name in unknown):
            raise ValueError(_unreadable(scheme))
        known = ", ".join(sorted(_QUERY[scheme]))
        raise ValueError(f"{scheme}:// has no option {', '.join(map(repr, unknown))}; expected one of {known}")
    return query


def _tls(query: Mapping[str, str]) -> dict[str, Any]:
    """Return the TLS options under redis-py's names; kombu passes them on to redis-py."""
    tls: dict[str, Any] = {name: value for name, value in query.items() if name in _TLS and value}
    needed = tls.get("ssl_cert_reqs", "required").lower()
    tls["ssl_cert_reqs"] = _CERT_REQS.get(needed, needed)
    if tls["ssl_cert_reqs"] not in _CERT_REQS.values():
        raise ValueError("ssl_cert_reqs must be required, optional or none")
    checks = tls.pop("ssl_check_hostname", "true").lower()
    if checks not in {"true", "false"}:
        raise ValueError("ssl_check_hostname must be true or false")
    return tls | {"ssl_check_hostname": checks == "true" and tls["ssl_cert_reqs"] != "none"}


def _unreadable(scheme: str) -> str:
    return (
        f"invalid {scheme}:// URL; the format is {_FORMS}; in a password write %2F for /, %23 for #, "
        "%3F for ?, %40 for @"
    )


def _asking_sentinels(broker: BrokerUrl, seconds: float) -> dict[str, Any]:
    return {**_waiting(seconds), "password": broker.sentinel_password}


def _waiting(seconds: float) -> dict[str, Any]:
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    # Without these, redis-py would try an unreachable server four times, with pauses of seconds.
    return {
        "socket_timeout": seconds,
        "socket_connect_timeout": min(seconds, CONNECT_SECONDS),
        "socket_keepalive": True,
        "health_check_interval": 10,
        "retry": Retry(NoBackoff(), 0),
    }


def _kombu_urls(broker: BrokerUrl) -> Iterator[str]:
    login = quote(broker.username or "", safe="")
    if broker.password:
        login = f"{login}:{quote(broker.password, safe='')}"
    login = f"{login}@" if login else ""
    if broker.scheme == "unix":
        yield f"redis+socket://{login}{quote(broker.path)}?virtual_host={broker.db}"
    for host, port in broker.hosts:
        # A complete URL for each: kombu drops the other parts when it moves on to the next host.
        yield f"{broker.scheme}://{login}{f'[{host}]' if ':' in host else host}:{port}/{broker.db}"
