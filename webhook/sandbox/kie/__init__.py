"""The dialect of Kie.ai and its sister brand MidAPI, written from the vendor's pages, not from our adapter.

Sources: docs.kie.ai/mj-api (generate-mj-image, its callbacks, get-mj-task-details, upscale, vary, extend-mj-video) and
docs.kie.ai/common-api (webhook-verification, get-account-credits, download-url).
"""

from webhook.sandbox.kie.routes import Kie

__all__ = ["Kie"]
