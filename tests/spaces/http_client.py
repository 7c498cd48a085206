"""A client of Gradio's HTTP protocol that can send requests which no browser would send."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import httpx

PATIENCE = 280.0
UPSCALE = ("auto", "auto", False, 1, 0, 0, "png")
"""Arguments of `/upscale` after image and model: tile, dtype, ensemble, strength, scale, width, format."""
FILE = {"meta": {"_type": "gradio.FileData"}}


class HttpClient:
    """A visitor without cookies.

    Args:
        url: URL of the Space.
    """

    def __init__(self, url: str) -> None:
        self.session = uuid.uuid4().hex
        self.http = httpx.Client(base_url=f"{url}/gradio_api", timeout=PATIENCE, trust_env=False)
        self.page = url

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def upload(self, image: Path) -> dict[str, Any]:
        """Uploads a file; returns Gradio's reference to it."""
        response = self.http.post("/upload", files={"files": (image.name, image.read_bytes())})
        response.raise_for_status()
        return {"path": response.json()[0], "orig_name": image.name, **FILE}

    def join(self, name: str, *data: Any) -> httpx.Response:
        """Requests a job; the response contains its `event_id` or an error."""
        body = {"data": data, "fn_index": self.number(name), "session_hash": self.session}
        return self.http.post("/queue/join", json=body)

    def number(self, name: str) -> int:
        """Returns the index of an API endpoint."""
        functions = httpx.get(f"{self.page}/config", trust_env=False).json()["dependencies"]
        return next(function["id"] for function in functions if function["api_name"] == name)

    def outcome(self) -> tuple[bool, Any]:
        """Waits for this visitor's only job; returns (True, data) or (False, error)."""
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
        """Requests a file of the server by its path."""
        return self.http.get(f"/file={path}")
