"""A visitor that speaks gradio's protocol by hand, and may say what no browser would."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import httpx

PATIENCE = 280.0
FILE = {"meta": {"_type": "gradio.FileData"}}


class Program:
    """One visitor without cookies.

    Args:
        url: of the Space.
    """

    def __init__(self, url: str) -> None:
        self.session = uuid.uuid4().hex
        self.http = httpx.Client(base_url=f"{url}/gradio_api", timeout=PATIENCE, trust_env=False)
        self.page = url

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def upload(self, picture: Path) -> dict[str, Any]:
        """Uploads a file, and returns what names it."""
        answer = self.http.post("/upload", files={"files": (picture.name, picture.read_bytes())})
        answer.raise_for_status()
        return {"path": answer.json()[0], "orig_name": picture.name, **FILE}

    def join(self, name: str, *data: Any) -> httpx.Response:
        """Asks for a job; the answer holds its `event_id`, or says why there is none."""
        body = {"data": data, "fn_index": self.number(name), "session_hash": self.session}
        return self.http.post("/queue/join", json=body)

    def number(self, name: str) -> int:
        """Of a function that has a name for programs."""
        functions = httpx.get(f"{self.page}/config", trust_env=False).json()["dependencies"]
        return next(function["id"] for function in functions if function["api_name"] == name)

    def outcome(self) -> tuple[bool, Any]:
        """Waits until this visitor's only job is done: whether it went well, and its data or its error."""
        with self.http.stream("GET", "/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data: ")) if line else {}
                if message.get("msg") == "process_completed":
                    output = message["output"]
                    return message["success"], output.get("data") or output.get("error")
        raise RuntimeError("the server closed the stream before the job was done")

    def cancel(self, name: str, event: str) -> None:
        body = {"session_hash": self.session, "fn_index": self.number(name), "event_id": event}
        self.http.post("/cancel", json=body).raise_for_status()

    def fetch(self, path: str) -> httpx.Response:
        """What the server hands out under a path of its own."""
        return self.http.get(f"/file={path}")
