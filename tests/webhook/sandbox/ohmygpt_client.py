"""A client that speaks OhMyGPT's dialect, from the vendor's pages."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.patience import patient
from tests.webhook.sandbox.helpers import TOKEN, Client, until

PREFIX = "/api/v1/ai/draw/mj/"
PICTURE = "data:image/webp;base64,Ukxxx"


@dataclass
class OhMyGptClient(Client):
    def form(self, path: str, body: Any, **headers: str) -> Any:
        """As documented: form-encoded, lists as a repeated field."""
        data = body if isinstance(body, str) else urlencode({"model": "midjourney"} | body, doseq=True)
        headers = TOKEN | {"Content-Type": "application/x-www-form-urlencoded"} | headers
        return self.http.request(
            "POST", self.url + PREFIX + path, body=data, headers=headers, retries=False, timeout=patient(8)
        )

    def told(self, path: str, **fields: Any) -> dict[str, Any]:
        answer = self.form(path, fields)
        assert answer.status == 200, answer.data
        return answer.json()

    def made(self, path: str = "imagine", **fields: Any) -> int:
        """The task's id."""
        if path == "imagine":
            fields = {"prompt": "tiny: a fox"} | fields
        answer = self.told(path, **fields)
        assert answer["statusCode"] == 200, answer
        return answer["data"]

    def task(self, task_id: int) -> dict[str, Any]:
        return self.told("query", taskId=task_id)["data"]

    def finished(self, task_id: int) -> dict[str, Any]:
        return until(lambda: task if (task := self.task(task_id))["finishTime"] else None)

    def grid(self) -> dict[str, Any]:
        return self.finished(self.made())

    def pressed(self, parent: dict[str, Any], part: str, **fields: Any) -> dict[str, Any]:
        return self.finished(self.made("action", taskId=parent["taskId"], customId=custom_id(parent, part), **fields))


def custom_id(task: dict[str, Any], part: str) -> str:
    (found,) = (action["customId"] for action in task["actions"] if part in action["customId"])
    return found
