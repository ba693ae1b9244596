"""A client that speaks midjourney-proxy's dialect, from its documents and source code."""

from dataclasses import dataclass
from typing import Any

from tests.patience import patient
from tests.webhook.sandbox.helpers import Client, until

PICTURE = "data:image/png;base64,iVBORw0KGgo="
ENDED = {"SUCCESS", "FAILURE"}


@dataclass
class ProxyClient(Client):
    def submit(self, path: str, **fields: Any) -> Any:
        return self.post(f"/mj/submit/{path}", fields)

    def told(self, path: str, **fields: Any) -> dict[str, Any]:
        answer = self.submit(path, **fields)
        assert answer.status == 200, answer.data
        return answer.json()

    def made(self, path: str = "imagine", **fields: Any) -> str:
        """The task's id."""
        if path == "imagine":
            fields = {"prompt": "tiny: a fox"} | fields
        answer = self.told(path, **fields)
        assert answer["code"] in {1, 22}, answer
        return answer["result"]

    def task(self, task_id: str) -> dict[str, Any]:
        return self.get(f"/mj/task/{task_id}/fetch").json()

    def get(self, path_or_link: str, **headers: str) -> Any:
        link = path_or_link if path_or_link.startswith("http") else self.url + path_or_link
        headers = {"mj-api-secret": "anything"} | headers
        return self.http.request("GET", link, headers=headers, retries=False, timeout=patient(8))

    def finished(self, task_id: str) -> dict[str, Any]:
        return until(lambda: task if (task := self.task(task_id))["status"] in ENDED else None)

    def grid(self, prompt: str = "tiny: a fox") -> dict[str, Any]:
        return self.finished(self.made(prompt=prompt))

    def pressed(self, parent: dict[str, Any], part: str) -> dict[str, Any]:
        return self.finished(self.made("action", taskId=parent["id"], customId=custom_id(parent, part)))


def custom_id(task: dict[str, Any], part: str) -> str:
    (found,) = (button["customId"] for button in task["buttons"] if part in button["customId"])
    return found
