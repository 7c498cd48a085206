"""A small Hugging Face Hub on 127.0.0.1: what the real client calls, kept in memory, every call recorded.

Two listeners, as on the Hub: the API, and the storage that large files are sent to and read from (another
origin, so a client that leaked its token there would be seen). A route that the server does not know answers
501 and is kept in `HubServer.unknown`; the fixture fails the test then.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import yaml

from .repos import Blob, Repo, card_errors, file_entry, is_large
from .wire import Answer, Call, Handler, Request

__all__ = ["Call", "HubServer", "Repo", "User"]


@dataclass(frozen=True)
class User:
    """Who a token belongs to, and the namespaces it may write to."""

    name: str
    writes: tuple[str, ...]


@dataclass
class Fault:
    """Something that goes wrong with the requests that match, `times` times."""

    method: str
    pattern: str
    kind: str
    times: int


class HubServer:
    """The server; use it as a context manager.

    Attributes:
        url, storage: addresses of the two listeners.
        users: token -> User.
        repos: model id -> Repo; `datasets/...` and `spaces/...` for those.
        reserved: ids that are taken by something that nobody sees.
        objects: large files by SHA-256.
        xet_store: folder that hf_xet stores in, when a test lets it.
        xet_hashes: SHA-256 -> Xet's own hash, of files that come by Xet.
        calls: everything that was asked, in order.
        stalled: set once a request stalls.
        unknown: requests that no route knows.
    """

    def __init__(self) -> None:
        self.users = {
            "hf_publisher": User("publisher", ("publisher", "org")),
            "hf_reader": User("reader", ("reader",)),
        }
        self.repos: dict[str, Repo] = {}
        self.reserved: set[str] = set()
        self.objects: dict[str, bytes] = {}
        self.xet_store: Path | None = None
        self.xet_hashes: dict[str, str] = {}
        self.calls: list[Call] = []
        self.unknown: list[str] = []
        self.faults: list[Fault] = []
        self.stalled, self.go_on = threading.Event(), threading.Event()
        self.before_commit: Callable[[Repo], None] | None = None
        self.lock = threading.RLock()
        self._servers = [ThreadingHTTPServer(("127.0.0.1", 0), self._handler()) for _ in range(2)]
        self.url, self.storage = (f"http://127.0.0.1:{server.server_port}" for server in self._servers)
        self._threads = [
            threading.Thread(target=s.serve_forever, args=(0.05,), daemon=True) for s in self._servers
        ]

    def __enter__(self) -> HubServer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()

    # What tests do with it

    def create(
        self,
        repo_id: str,
        *,
        private: bool = False,
        gated: bool = False,
        contents: dict[str, bytes] | None = None,
        **files: bytes,
    ) -> Repo:
        """A repository as the Hub makes it, with `.gitattributes`; files as `config_json=b"..."`."""
        repo = Repo(repo_id, private=private, gated=gated)
        content = {".gitattributes": Blob(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n", False)}
        named = {name.replace("_", "."): data for name, data in files.items()}
        for path, data in {**named, **(contents or {})}.items():
            content[path] = Blob(data, is_large(path, len(data)))
        repo.add_commit("main", content)
        self.repos[repo_id] = repo
        return repo

    @contextmanager
    def fault(self, method: str, pattern: str, kind: str, *, times: int = 1000) -> Iterator[Fault]:
        """While the block runs, matching requests go wrong.

        Args:
            method: "GET", "HEAD", ... or "*".
            pattern: regular expression, searched in the path.
            kind: a status ("500"), "cut" (no answer), "stall" (no answer, but the connection stays), "lost"
                (done as asked, but no answer), "half" (half of the body, then the connection closes),
                "short" (a shorter file that claims to be whole), "wrong" (other bytes, same length) or "page"
                (of a network that wants one to log in first).
            times: how many requests.
        """
        fault = Fault(method, pattern, kind, times)
        self.faults.append(fault)
        self.stalled.clear()
        self.go_on.clear()
        try:
            yield fault
        finally:
            self.faults.remove(fault)
            self.go_on.set()

    def announce_xet(self, path: Path) -> None:
        """Tells the server of a file that will come by Xet: hf_xet stores it past the server."""
        import hf_xet

        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        self.objects[digest] = data
        self.xet_hashes[digest] = hf_xet.hash_files([str(path)])[0].hash

    @contextmanager
    def recorded(self) -> Iterator[list[Call]]:
        """The calls made while the block runs."""
        start = len(self.calls)
        calls: list[Call] = []
        try:
            yield calls
        finally:
            calls.extend(self.calls[start:])

    # Access

    def _user(self, request: Request) -> User | None:
        token = request.token
        if token is None:
            return None
        if token not in self.users:
            raise Answer(401, "Invalid credentials in Authorization header")
        return self.users[token]

    def _repo(self, request: Request, repo_id: str, *, write: bool = False) -> Repo:
        user = self._user(request)
        repo = self.repos.get(repo_id)
        owner = repo_id.split("/")[-2]
        may_write = user is not None and owner in user.writes
        if repo is None or (repo.private and not may_write):
            raise Answer(404 if user else 401, "Repository not found", code="RepoNotFound")
        if write and not may_write:
            raise Answer(403, "Forbidden: you must use a token with write access to this repository")
        return repo

    def _commit(self, request: Request, repo: Repo, revision: str) -> str:
        oid = repo.resolve(unquote(revision))
        if oid is None:
            raise Answer(404, f"Invalid rev id: {unquote(revision)}", code="RevisionNotFound")
        return oid

    # Routes

    def whoami(self, request: Request) -> Answer:
        user = self._user(request)
        if user is None:
            raise Answer(401, "Invalid username or password.")
        return Answer(
            200, {"type": "user", "name": user.name, "orgs": [{"name": n} for n in user.writes[1:]]}
        )

    def create_repo(self, request: Request) -> Answer:
        user = self._user(request)
        if user is None:
            raise Answer(401, "Invalid username or password.")
        asked = request.json()
        owner = asked["organization"] or user.name
        repo_id = FOLDERS[asked.get("type") or "model"] + f"{owner}/{asked['name']}"
        if owner not in user.writes:
            raise Answer(403, f'You don\'t have the rights to create a model under the namespace "{owner}"')
        if repo_id in self.repos or repo_id in self.reserved:
            return Answer(
                409, {"error": "You already created this model repo", "url": f"{self.url}/{repo_id}"}
            )
        repo = self.create(repo_id, private=asked.get("visibility") == "private")
        repo.settings = {word: asked[word] for word in ("sdk", "hardware") if word in asked}
        return Answer(200, {"url": f"{self.url}/{repo_id}", "name": repo_id})

    def create_branch(self, request: Request, repo_id: str, branch: str) -> Answer:
        repo = self._repo(request, repo_id, write=True)
        name = unquote(branch)
        if name in repo.refs:
            raise Answer(409, f"Reference already exists: {name}")
        repo.refs[name] = repo.refs[request.json().get("startingPoint") or "main"]
        return Answer()

    def validate_yaml(self, request: Request) -> Answer:
        errors = card_errors(request.json()["content"])
        return Answer(400 if errors else 200, {"errors": [{"message": e} for e in errors], "warnings": []})

    def info(self, request: Request, repo_id: str, revision: str | None = None) -> Answer:
        repo = self._repo(request, repo_id)
        oid = self._commit(request, repo, revision or "main")
        siblings = [{"rfilename": path} for path in repo.commits[oid]]
        gated = "manual" if repo.gated else False
        return Answer(
            200,
            {
                "id": repo.id,
                "sha": oid,
                "private": repo.private,
                "gated": gated,
                "siblings": siblings,
                "tags": [],
                "model-index": _model_index(repo.commits[oid]),
            },
        )

    def refs(self, request: Request, repo_id: str) -> Answer:
        repo = self._repo(request, repo_id)
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid}
            for name, oid in repo.refs.items()
            if not name.startswith("refs/")
        ]
        return Answer(200, {"branches": branches, "tags": [], "converts": []})

    def paths_info(self, request: Request, repo_id: str, revision: str) -> Answer:
        repo = self._repo(request, repo_id)
        files = repo.commits[self._commit(request, repo, revision)]
        asked = parse_qs(request.body.decode()).get("paths", [])
        return Answer(200, [file_entry(path, files[path]) for path in asked if path in files])

    def tree(self, request: Request, repo_id: str, revision: str) -> Answer:
        repo = self._repo(request, repo_id)
        files = repo.commits[self._commit(request, repo, revision)]
        return Answer(200, [file_entry(path, blob) for path, blob in files.items()])

    def preupload(self, request: Request, repo_id: str, revision: str) -> Answer:
        repo = self._repo(request, repo_id, write="create_pr" not in request.query)
        files = repo.commits[self._commit(request, repo, revision)]
        answer = []
        for file in request.json()["files"]:
            path, present = file["path"], files.get(file["path"])
            mode = "lfs" if is_large(path, file["size"]) else "regular"
            answer.append(
                {
                    "path": path,
                    "uploadMode": mode,
                    "shouldIgnore": False,
                    "oid": present.oid if present else None,
                }
            )
        return Answer(200, {"files": answer})

    def xet_token(self, request: Request, repo_id: str, access: str, revision: str) -> Answer:
        self._repo(request, repo_id, write=access == "write")
        headers = {
            "X-Xet-Cas-Url": f"local://{self.xet_store}",
            "X-Xet-Access-Token": "xet",
            "X-Xet-Token-Expiration": str(int(time.time()) + 3600),
        }
        body = {"casUrl": headers["X-Xet-Cas-Url"], "accessToken": "xet", "exp": int(time.time()) + 3600}
        return Answer(200, body, headers)

    def lfs_batch(self, request: Request, repo_id: str) -> Answer:
        self._repo(request, repo_id)
        objects = []
        for wanted in request.json()["objects"]:
            entry: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.objects:
                entry["actions"] = {
                    "upload": {"href": f"{self.storage}/objects/{wanted['oid']}"},
                    "verify": {"href": f"{self.url}/{repo_id}.git/info/lfs/verify"},
                }
            objects.append(entry)
        return Answer(200, {"transfer": "basic", "objects": objects})

    def lfs_verify(self, request: Request, repo_id: str) -> Answer:
        self._repo(request, repo_id)
        asked = request.json()
        if len(self.objects.get(asked["oid"], b"")) != asked["size"]:
            raise Answer(422, "the object is missing or has another size")
        return Answer()

    def put_object(self, request: Request, oid: str) -> Answer:
        if hashlib.sha256(request.body).hexdigest() != oid:
            raise Answer(400, "the object is not what its address says")
        self.objects[oid] = request.body
        return Answer()

    def get_object(self, request: Request, oid: str) -> Answer:
        return request.ranged(self.objects[oid], {"ETag": f'"{oid}"'})

    def commit(self, request: Request, repo_id: str, revision: str) -> Answer:
        pull_request = "create_pr" in request.query
        repo = self._repo(request, repo_id, write=not pull_request)
        if self.before_commit:
            self.before_commit(repo)
        base = self._commit(request, repo, revision)
        files = dict(repo.commits[base])
        ref = unquote(revision)
        for line in request.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                parent = value.get("parentCommit")
                if parent and not pull_request and parent != base:
                    raise Answer(412, "A commit has happened since. Please refresh and try again.")
            elif entry["key"] == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
            elif entry["key"] == "deletedFile":
                del files[value["path"]]
            elif entry["key"] == "lfsFile":
                if value["oid"] not in self.objects:
                    raise Answer(400, f"LFS object {value['oid']} was never uploaded")
                files[value["path"]] = Blob(self.objects[value["oid"]], True)
            else:
                raise Answer(501, f"{entry['key']} is not known to this server")
        if pull_request:
            ref = f"refs/pr/{1 + sum(name.startswith('refs/pr/') for name in repo.refs)}"
        oid = repo.add_commit(ref, files)
        address = f"{self.url}/{repo_id}/discussions/{ref.rsplit('/', 1)[-1]}"
        return Answer(
            200,
            {
                "success": True,
                "commitOid": oid,
                "commitUrl": f"{self.url}/{repo_id}/commit/{oid}",
                "pullRequestUrl": address if pull_request else None,
            },
        )

    def resolve(self, request: Request, repo_id: str, revision: str, path: str) -> Answer:
        repo = self._repo(request, repo_id)
        oid = self._commit(request, repo, revision)
        if repo.gated:
            user = self._user(request)
            if user is None or repo_id.split("/")[0] not in user.writes:
                raise Answer(
                    403 if user else 401, f"Access to model {repo_id} is restricted", code="GatedRepo"
                )
        headers = {"X-Repo-Commit": oid}
        blob = repo.commits[oid].get(unquote(path))
        if blob is None:
            raise Answer(404, "Entry not found", headers, code="EntryNotFound")
        if not blob.lfs:
            return request.ranged(blob.data, {**headers, "ETag": f'"{blob.git_oid}"'})
        self.objects[blob.sha256] = blob.data
        if blob.sha256 in self.xet_hashes:
            headers["X-Xet-Hash"] = self.xet_hashes[blob.sha256]
            headers["Link"] = f'<{self.url}/api/models/{repo_id}/xet-read-token/{oid}>; rel="xet-auth"'
        headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.data))}
        return Answer(302, b"", {**headers, "Location": f"{self.storage}/objects/{blob.sha256}"})

    def answer(self, request: Request) -> Answer:
        """The answer to a request: that of its route, or 501."""
        origin = self._servers.index(request.server)
        for at, method, pattern, route in ROUTES:
            match = re.fullmatch(pattern, request.path)
            if at == origin and method == ("GET" if request.method == "HEAD" else request.method) and match:
                with self.lock:
                    try:
                        return getattr(self, route)(request, **_with_kind(match.groupdict()))
                    except Answer as early:
                        return early
        self.unknown.append(f"{request.method} {request.path}")
        return Answer(501, f"this server does not know {request.method} {request.path}")

    def take_fault(self, method: str, path: str) -> str | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method in ("*", method) and re.search(fault.pattern, path):
                    fault.times -= 1
                    return fault.kind
        return None

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        return type("Handler", (Handler,), {"hub": self})


def _with_kind(words: dict[str, str]) -> dict[str, str]:
    """Puts the kind of a repository, as addresses say it, before its id, as `HubServer.repos` has it."""
    kind = (words.pop("kind", None) or "models").rstrip("/")
    if "repo_id" in words and kind != "models":
        words["repo_id"] = f"{kind}/{words['repo_id']}"
    return words


FOLDERS = {"model": "", "dataset": "datasets/", "space": "spaces/"}
API = r"/api/(?P<kind>models|datasets|spaces)"
PREFIX = "/(?P<kind>datasets/|spaces/)?"
ID = r"(?P<repo_id>[\w.-]+/[\w.-]+)"
REV = r"(?P<revision>[^/]+)"
ROUTES = [
    # (0 the API or 1 the storage, method, path, HubServer's method)
    (0, "GET", "/api/whoami-v2", "whoami"),
    (0, "POST", "/api/repos/create", "create_repo"),
    (0, "POST", "/api/validate-yaml", "validate_yaml"),
    (0, "GET", f"{API}/{ID}", "info"),
    (0, "GET", f"{API}/{ID}/revision/{REV}", "info"),
    (0, "GET", f"{API}/{ID}/refs", "refs"),
    (0, "GET", f"{API}/{ID}/tree/{REV}", "tree"),
    (0, "POST", f"{API}/{ID}/paths-info/{REV}", "paths_info"),
    (0, "POST", f"{API}/{ID}/preupload/{REV}", "preupload"),
    (0, "POST", f"{API}/{ID}/branch/(?P<branch>[^/]+)", "create_branch"),
    (0, "POST", f"{API}/{ID}/commit/{REV}", "commit"),
    (0, "GET", f"{API}/{ID}/xet-(?P<access>read|write)-token/{REV}", "xet_token"),
    (0, "POST", rf"{PREFIX}{ID}\.git/info/lfs/objects/batch", "lfs_batch"),
    (0, "POST", rf"{PREFIX}{ID}\.git/info/lfs/verify", "lfs_verify"),
    (0, "GET", f"{PREFIX}{ID}/resolve/{REV}/(?P<path>.+)", "resolve"),
    (1, "PUT", "/objects/(?P<oid>[0-9a-f]{64})", "put_object"),
    (1, "GET", "/objects/(?P<oid>[0-9a-f]{64})", "get_object"),
]


def _model_index(files: Mapping[str, Any]) -> Any:
    """The measurements in the front matter of a card, which the Hub tells of each model."""
    text = files["README.md"].data.decode(errors="replace") if "README.md" in files else ""
    if not text.startswith("---\n"):
        return None
    try:
        front = yaml.safe_load(text.split("---\n")[1])
    except yaml.YAMLError:
        return None
    return front.get("model-index") if isinstance(front, dict) else None
