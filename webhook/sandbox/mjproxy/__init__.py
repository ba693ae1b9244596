"""The dialect of midjourney-proxy and of the relays that speak it.

It is written from its documents and source code and not from our adapter, so that it checks it.

The speed is chosen by `accountFilter`, by the path (`/mj-turbo/mj/submit/imagine`) or by the prompt, in this order, as
docs.rixapi.com describes it for its relay; the journal has it.

Sources: novicezk/midjourney-proxy (Java: documents, controllers, task, notifier, time-out schedule),
trueai-org/midjourney-proxy (C#: controllers, task, buttons), QuantumNous/new-api (a relay: its Midjourney handler).

A word in the prompt chooses which of them a submission meets; follow-ups meet the one that made their parent:

`proxy:csharp`        the C# fork, and the default: buttons; region and custom zoom open a window (code 21, then modal)
`proxy:java`          the Java original: no buttons and no `action`, but `change` and `simple-change`
`proxy:relay`         a relay: `notifyHook` and `state` are dropped, so nobody calls back; links are the relay's own
`proxy:late-success`  with Java or C#: FAILURE by time-out first, then SUCCESS after all
"""

from webhook.sandbox.mjproxy.routes import MjProxy

__all__ = ["MjProxy"]
