"""A client of the pretend Kie, without any of our own code."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.patience import patient
from tests.webhook.sandbox.helpers import TOKEN, Client, until

CAT = "https://example.com/cat.jpg"


@dataclass
class KieClient:
    client: Client

    def post(self, path: str, body: Any, **headers: str) -> dict[str, Any]:
        """The answer, which is 200 whatever its code says."""
        answer = self.client.post(f"/api/v1/{path}", body, **headers)
        assert answer.status == 200, answer.data
        return answer.json()

    def get(self, path: str, token: str = TOKEN["Authorization"], **query: str) -> dict[str, Any]:
        url = f"{self.client.url}/api/v1/{path}?{urlencode(query)}"
        answer = self.client.http.request(
            "GET", url, headers={"Authorization": token}, retries=False, timeout=patient(8)
        )
        assert answer.status == 200, answer.data
        return answer.json()

    def generate(self, prompt: str = "tiny: a fox", **fields: Any) -> dict[str, Any]:
        return self.post("mj/generate", {"taskType": "mj_txt2img", "prompt": prompt} | fields)

    def submit(self, path: str, **fields: Any) -> str:
        answer = self.post(path, fields)
        assert answer["code"] == 200, answer
        return answer["data"]["taskId"]

    def finished(self, task_id: str) -> str:
        """Waits for the task without spending one of the vendor's habits."""
        until(lambda: [task for task in self._tasks() if task["task_id"] == task_id and task["finished_at"]])
        return task_id

    def made(self, prompt: str = "tiny: a fox", **fields: Any) -> str:
        return self.finished(self.submit("mj/generate", **({"taskType": "mj_txt2img", "prompt": prompt} | fields)))

    def video(self, prompt: str = "tiny: a fox", **fields: Any) -> str:
        options = {"taskType": "mj_video", "motion": "low", "fileUrls": [CAT]}
        return self.made(prompt, **(options | fields))

    def record(self, task_id: str) -> dict[str, Any]:
        return self.get("mj/record-info", taskId=task_id)

    def links(self, task_id: str) -> list[str]:
        """From the record in its documented form."""
        while isinstance(result := self.record(task_id)["data"]["resultInfoJson"], str):
            pass
        return [one["resultUrl"] for one in result["resultUrls"]]

    def _tasks(self) -> list[dict[str, Any]]:
        return self.client.get("/sandbox/tasks").json()
