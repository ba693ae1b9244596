"""The dialect of midjourney-proxy and its relays.

Written from its documents and source code, not from our adapter, so that the two check each other.

`accountFilter`, the path (`/mj-turbo/mj/submit/imagine`) or the prompt, in this order, selects the speed, as
docs.rixapi.com describes for its relay; the journal records it.

Sources: novicezk/midjourney-proxy (Java: documents, controllers, task, notifier, time-out schedule),
trueai-org/midjourney-proxy (C#: controllers, task, buttons), QuantumNous/new-api (a relay: its Midjourney handler).

A word in the prompt selects the variant; follow-ups use the variant of their parent:

`proxy:csharp`        the C# fork, and the default: buttons; region and custom zoom open a window (code 21, then modal)
`proxy:java`          the Java original: no buttons and no `action`, but `change` and `simple-change`
`proxy:relay`         a relay: `notifyHook` and `state` are dropped, so nobody calls back; links are the relay's own
`proxy:late-success`  with Java or C#: FAILURE by time-out first, then SUCCESS after all
"""

from webhook.sandbox.mjproxy.routes import MjProxy

__all__ = ["MjProxy"]
