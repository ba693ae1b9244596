"""Result links that expire, in the form of Discord's signed attachment URLs, which Ace Data Cloud passes on.

`ex` and `is` are the times of expiry and issue in hexadecimal unix seconds, `hm` is a signature over both and the path.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping


class Links:
    def __init__(self, life: float) -> None:
        #: seconds
        self.life = life
        self._key = secrets.token_bytes(32)

    def mint(self, base_url: str, path: str, *, works: bool = True, life: float | None = None) -> str:
        """Return a link that ends in a bare `&`, as Discord's do; a dead link has a wrong `hm` but looks valid.

        `life` is in seconds; the default is the sandbox's.
        """
        issued = int(time.time())
        expires, since = f"{int(issued + (self.life if life is None else life)):x}", f"{issued:x}"
        signature = self._sign(path, expires, since) if works else secrets.token_hex(32)
        return f"{base_url}{path}?ex={expires}&is={since}&hm={signature}&"

    def works(self, path: str, query: Mapping[str, str]) -> bool:
        expires, since, signature = query.get("ex", ""), query.get("is", ""), query.get("hm", "")
        if not hmac.compare_digest(signature.encode(), self._sign(path, expires, since).encode()):
            return False
        return time.time() < int(expires, 16)

    def _sign(self, path: str, expires: str, since: str) -> str:
        return hmac.new(self._key, f"{path}?{expires}&{since}".encode(), hashlib.sha256).hexdigest()
