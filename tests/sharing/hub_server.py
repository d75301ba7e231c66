"""A server that speaks as much of the Hub's protocol as reading and writing folders takes, for one machine."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Hub(ThreadingHTTPServer):
    """Repositories by place (`owner/name`, `datasets/owner/name`), each a list of commits: names to bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.commits: dict[str, list[dict[str, bytes]]] = {}
        self.large: dict[str, bytes] = {}  # files sent beside a commit, by SHA-256
        self.sent: list[str] = []  # names of files that were downloaded

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


def commit_id(place: str, number: int) -> str:
    return hashlib.sha1(f"{place} {number}".encode()).hexdigest()


class Answers(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing."""

    def say(self, code: int, content: Any = None, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_PUT(self) -> None:
        data = self.body()
        self.server.large[hashlib.sha256(data).hexdigest()] = data
        self.say(200, {})

    def do_POST(self) -> None:
        path, data = unquote(urlsplit(self.path).path), self.body()
        if path == "/api/repos/create":
            asked = json.loads(data)
            place = f"{asked.get('organization') or 'me'}/{asked['name']}"
            place = f"datasets/{place}" if asked.get("type") == "dataset" else place
            new = place not in self.server.commits
            self.server.commits.setdefault(place, [])
            return self.say(200 if new else 409, {"url": f"{self.server.address}/{place}"})
        if path == "/api/validate-yaml":
            return self.say(200, {"errors": [], "warnings": []})
        if path.endswith("/objects/batch"):
            objects = [self.action(each) for each in json.loads(data)["objects"]]
            return self.say(200, {"transfer": "basic", "objects": objects})
        kind, owner, name, verb = path.removeprefix("/api/").split("/")[:4]
        place = f"{owner}/{name}" if kind == "models" else f"{kind}/{owner}/{name}"
        if place not in self.server.commits:
            return self.say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        if verb == "preupload":
            files = [self.mode(each["path"]) for each in json.loads(data)["files"]]
            return self.say(200, {"files": files})
        return self.commit(place, [json.loads(line) for line in data.splitlines()])

    def action(self, asked: dict[str, Any]) -> dict[str, Any]:
        upload = {"href": f"{self.server.address}/large/{asked['oid']}", "header": {}}
        return {"oid": asked["oid"], "size": asked["size"], "actions": {"upload": upload}}

    def mode(self, path: str) -> dict[str, Any]:
        large = path.endswith((".safetensors", ".parquet"))
        return {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": None}

    def commit(self, place: str, lines: list[dict[str, Any]]) -> None:
        commits = self.server.commits[place]
        files = dict(commits[-1]) if commits else {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
        commits.append(files)
        oid = commit_id(place, len(commits))
        self.say(200, {"success": True, "commitOid": oid, "commitUrl": f"{self.server.address}/{place}/commit/{oid}"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        if path.startswith("api/"):
            place, _, revision = path.removeprefix("api/").removeprefix("models/").partition("/revision/")
            name = ""
        else:
            place, _, rest = path.partition("/resolve/")
            revision, _, name = rest.partition("/")
        commits = self.server.commits.get(place)
        if not commits:
            return self.say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        known = {commit_id(place, number + 1): files for number, files in enumerate(commits)}
        oid = commit_id(place, len(commits)) if revision in ("main", "") else revision
        if oid not in known:
            return self.say(404, {"error": "Revision not found"}, {"X-Error-Code": "RevisionNotFound"})
        headers = {"X-Repo-Commit": oid}
        if not name:
            return self.say(200, {"id": place.removeprefix("datasets/"), "sha": oid, "tags": [], "siblings": []})
        if name not in known[oid]:
            return self.say(404, {"error": "Entry not found"}, {**headers, "X-Error-Code": "EntryNotFound"})
        data = known[oid][name]
        if self.command == "GET":
            self.server.sent.append(name)
        return self.say(200, data, {**headers, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'})


@contextmanager
def running() -> Iterator[Hub]:
    """A server that listens while this is open."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()
