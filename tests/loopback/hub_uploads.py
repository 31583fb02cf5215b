"""The Hugging Face Hub on loopback, for uploads by the real client: accounts, repositories, preupload, Git LFS, commits, trees, files.

The answers are those that `huggingface_hub` 2.4 reads: `hf_api.py` (whoami, create_repo, dataset_info, list_repo_tree, create_commit),
`_commit_api.py` (preupload, the lines of a commit) and `lfs.py` (batch, one or several parts, verification).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from serving import Server, running

WRITER, READER = "hf_WriterWriterWriterWriterWriterWr", "hf_ReaderReaderReaderReaderReaderRe"
PAGE = 7
"""Entries of a page of a tree; 1000 on the Hub."""

LARGE = 10_000
"""Bytes from which on a file is large, besides those of `.gitattributes`; 10 MB on the Hub."""


@dataclass
class Stored:
    """A file of a commit: its bytes, and whether it is stored with Git LFS."""

    content: bytes
    lfs: bool

    @property
    def blob(self) -> str:
        """Git's checksum: of the file, or of the pointer to a large one."""
        content = self.pointer if self.lfs else self.content
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()


@dataclass
class Hub:
    """Repositories, and what goes wrong.

    Attributes:
        repositories: files by path, by name; `commits`: their commits, the newest last; `private`: those that are.
        objects: large files by SHA-256, whether committed or not.
        part_size: bytes of a part of a large file; None: in one part.
        fail: answers to give in place of the right one, by the start of "method path", in turn; see `Handler.handle_one`.
        lost_commits: commits that are made and answered with 502.
        asked: method and path of all requests; `received`: bytes of large files.
    """

    repositories: dict[str, dict[str, Stored]] = field(default_factory=dict)
    commits: dict[str, list[str]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    objects: dict[str, bytes] = field(default_factory=dict)
    parts: dict[str, dict[int, bytes]] = field(default_factory=dict)
    part_size: int | None = None
    fail: dict[str, list[int]] = field(default_factory=dict)
    lost_commits: int = 0
    asked: list[str] = field(default_factory=list)
    received: int = 0
    port: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def create(self, name: str, files: dict[str, bytes] | None = None, private: bool = False) -> None:
        """Make a repository with its first commit, as the Hub does."""
        self.repositories[name] = {".gitattributes": Stored(b"*.parquet filter=lfs diff=lfs merge=lfs -text\n", False)}
        self.repositories[name] |= {path: Stored(content, False) for path, content in (files or {}).items()}
        self.commits[name] = []
        self.commit(name)
        if private:
            self.private.add(name)

    def commit(self, name: str) -> str:
        """Add a commit."""
        oid = hashlib.sha1(f"{name} {len(self.commits[name])}".encode()).hexdigest()
        self.commits[name].append(oid)
        return oid

    def count(self, start: str) -> int:
        """Requests that begin with these words."""
        return sum(asked.startswith(start) for asked in self.asked)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server[Hub]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body waits 40 ms for the acknowledgement of its head otherwise

    def log_message(self, *arguments: object) -> None:
        """Keep the test's output clean."""

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def do_PUT(self) -> None:
        self.answer()

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def answer(self) -> None:
        """Read the body, fail where the test asks for it, else answer."""
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = b""
            while size := int(self.rfile.readline(), 16):
                self.body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        self.query, path = parse_qs(url.query), unquote(url.path)
        with self.hub.lock:
            asked = f"{self.command} {path}"
            self.hub.asked.append(asked)
            for start, answers in self.hub.fail.items():
                if asked.startswith(start) and answers and (status := answers.pop(0)):
                    if status < 0:  # a broken connection
                        self.close_connection = True
                        self.connection.close()
                        return
                    self.send(status, {"error": "asked for by the test"})
                    return
            self.route(path)

    def route(self, path: str) -> None:
        """Find what answers a path."""
        routes = {
            r"GET /api/whoami-v2": self.whoami,
            r"POST /api/validate-yaml": self.validate,
            r"POST /api/repos/create": self.create,
            r"GET /api/datasets/([\w.-]+/[\w.-]+)": self.info,
            r"GET /api/datasets/([\w.-]+/[\w.-]+)/revision/(\w+)": self.info,
            r"GET /api/datasets/([\w.-]+/[\w.-]+)/tree/(\w+)(?:/(.+))?": self.tree,
            r"POST /api/datasets/([\w.-]+/[\w.-]+)/paths-info/(\w+)": self.paths,
            r"POST /api/datasets/([\w.-]+/[\w.-]+)/preupload/(\w+)": self.preupload,
            r"POST /api/datasets/([\w.-]+/[\w.-]+)/commit/(\w+)": self.commit,
            r"POST /datasets/([\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch": self.batch,
            r"(?:GET|HEAD) /datasets/([\w.-]+/[\w.-]+)/resolve/(\w+)/(.+)": self.resolve,
            r"PUT /storage/(\w+)(?:/(\d+))?": self.store,
            r"POST /storage/(\w+)/complete": self.complete,
            r"POST /storage/(\w+)/verify": self.verify,
        }
        for pattern, work in routes.items():
            if match := re.fullmatch(pattern, f"{self.command} {path}"):
                work(*match.groups())
                return
        self.send(404, {"error": "Not Found"})

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def allowed(self, name: str, write: bool = False) -> bool:
        """Whether the token may read or write a repository; answers where not."""
        if self.token not in ("", WRITER, READER):
            message = "Invalid credentials in Authorization header"
            self.send(401, {"error": message}, {"X-Error-Message": message})
        elif name not in self.hub.repositories or (name in self.hub.private and not self.token):
            status = 404 if self.token else 401
            message = "Repository not found"
            self.send(status, {"error": message}, {"X-Error-Code": "RepoNotFound", "X-Error-Message": message})
        elif write and self.token != WRITER:
            message = "Authorization error: you don't have write access to this repository"
            self.send(403, {"error": message}, {"X-Error-Message": message})
        else:
            return True
        return False

    def whoami(self) -> None:
        names = {WRITER: "maker", READER: "reader"}
        if self.token in names:
            self.send(200, {"type": "user", "name": names[self.token], "auth": {"type": "access_token"}})
        else:
            self.send(401, {"error": "Invalid username or password."})

    def validate(self) -> None:
        """Look at the head of a card: here only whether it states a licence."""
        asked = json.loads(self.body)
        assert asked["repoType"] == "dataset"
        errors = [] if "license:" in asked["content"].split("---")[1] else [{"message": '"license" is required'}]
        self.send(200 if not errors else 400, {"errors": errors, "warnings": []})

    def create(self) -> None:
        asked = json.loads(self.body)
        assert asked["type"] == "dataset"
        name = f"{asked['organization']}/{asked['name']}"
        if self.token != WRITER:
            message = f'You don\'t have the rights to create a dataset under the namespace "{asked["organization"]}"'
            self.send(403, {"error": message}, {"X-Error-Message": message})
        elif name in self.hub.repositories:
            self.send(409, {"error": "You already created this dataset repo", "url": f"{self.hub.address}/datasets/{name}"})
        else:
            self.hub.create(name, private=asked.get("visibility") == "private")
            self.send(200, {"url": f"{self.hub.address}/datasets/{name}", "name": name, "id": "0123"})

    def info(self, name: str, revision: str = "main") -> None:
        if self.allowed(name) and self.is_there(name, revision):
            siblings = [{"rfilename": path} for path in self.hub.repositories[name]]
            about = {"id": name, "sha": self.hub.commits[name][-1], "private": name in self.hub.private}
            self.send(200, {**about, "tags": [], "downloads": 0, "likes": 0, "siblings": siblings})

    def is_there(self, name: str, revision: str) -> bool:
        if revision in ("main", self.hub.commits[name][-1]):
            return True
        self.send(404, {"error": "Invalid rev id"}, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
        return False

    def entry(self, name: str, path: str) -> dict[str, Any]:
        file = self.hub.repositories[name][path]
        entry: dict[str, Any] = {"type": "file", "oid": file.blob, "size": len(file.content), "path": path}
        if file.lfs:
            entry["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": len(file.pointer)}
        return entry

    def tree(self, name: str, revision: str, folder: str | None) -> None:
        if not (self.allowed(name) and self.is_there(name, revision)):
            return
        start, recursive = f"{folder}/" if folder else "", self.query.get("recursive") == ["true"]
        inside = sorted(path for path in self.hub.repositories[name] if path.startswith(start))
        above = {parent.as_posix() for path in inside for parent in PurePosixPath(path).parents}
        folders = {path for path in above if path.startswith(start) and path != "."}
        entries = [{"type": "directory", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, "path": path} for path in folders]
        entries += [self.entry(name, path) for path in inside]
        if not recursive:
            entries = [entry for entry in entries if "/" not in entry["path"].removeprefix(start)]
        if start and not inside:
            self.send(404, {"error": "not found"}, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "not found"})
            return
        entries.sort(key=lambda entry: entry["path"])
        first = int(self.query.get("cursor", ["0"])[0])
        headers = {}
        if first + PAGE < len(entries):
            url = urlsplit(self.path)
            headers["Link"] = f'<{self.hub.address}{url.path}?recursive={str(recursive).lower()}&cursor={first + PAGE}>; rel="next"'
        self.send(200, entries[first : first + PAGE], headers)

    def paths(self, name: str, revision: str) -> None:
        if self.allowed(name) and self.is_there(name, revision):
            form = {key: values for key, values in parse_qs(self.body.decode()).items()} if self.body[:1] != b"{" else json.loads(self.body)
            files = self.hub.repositories[name]
            entries = [self.entry(name, path) for path in form["paths"] if path in files]
            entries += [
                {"type": "directory", "oid": "0" * 40, "size": 0, "path": path}
                for path in form["paths"]
                if any(own.startswith(f"{path}/") for own in files)
            ]
            self.send(200, entries)

    def preupload(self, name: str, revision: str) -> None:
        if not self.allowed(name, write=True):
            return
        answers = []
        for file in json.loads(self.body)["files"]:
            assert len(base64.b64decode(file["sample"])) == min(512, file["size"])
            large = file["path"].endswith(".parquet") or file["size"] > LARGE
            there = self.hub.repositories[name].get(file["path"])
            oid = None if there is None else there.sha256 if there.lfs else there.blob
            answers.append({"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid})
        self.send(200, {"files": answers})

    def batch(self, name: str) -> None:
        if not self.allowed(name, write=True):
            return
        asked = json.loads(self.body)
        assert (asked["operation"], asked["hash_algo"]) == ("upload", "sha256")
        objects = []
        for wanted in asked["objects"]:
            answer: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.objects:
                place = f"{self.hub.address}/storage/{wanted['oid']}"
                upload: dict[str, Any] = {"href": place}
                if self.hub.part_size and wanted["size"] > self.hub.part_size:
                    count = -(-wanted["size"] // self.hub.part_size)
                    upload = {"href": f"{place}/complete", "header": {"chunk_size": str(self.hub.part_size)}}
                    upload["header"] |= {f"{number:05}": f"{place}/{number}" for number in range(1, count + 1)}
                answer["actions"] = {"upload": upload, "verify": {"href": f"{place}/verify"}}
            objects.append(answer)
        self.send(200, {"transfer": "basic", "objects": objects})

    def store(self, oid: str, part: str | None) -> None:
        self.hub.received += len(self.body)
        assert "Authorization" not in self.headers, "a signed address gets no token"
        if part is not None:
            self.hub.parts.setdefault(oid, {})[int(part)] = self.body
            self.send(200, {}, {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'})
        elif hashlib.sha256(self.body).hexdigest() == oid:
            self.hub.objects[oid] = self.body
            self.send(200, {})
        else:
            self.send(400, {"error": "other bytes"})

    def complete(self, oid: str) -> None:
        parts = self.hub.parts.pop(oid)
        asked = json.loads(self.body)
        assert [part["etag"].strip('"') for part in asked["parts"]] == [hashlib.md5(parts[n]).hexdigest() for n in sorted(parts)]
        content = b"".join(parts[number] for number in sorted(parts))
        assert hashlib.sha256(content).hexdigest() == oid
        self.hub.objects[oid] = content
        self.send(200, {})

    def verify(self, oid: str) -> None:
        right = oid in self.hub.objects and len(self.hub.objects[oid]) == json.loads(self.body)["size"]
        self.send(200 if right else 404, {})

    def commit(self, name: str, revision: str) -> None:
        if not self.allowed(name, write=True):
            return
        lines = [json.loads(line) for line in self.body.splitlines()]
        header, files = lines[0]["value"], dict(self.hub.repositories[name])
        assert lines[0]["key"] == "header"
        assert header["summary"]
        if header.get("parentCommit") not in (None, self.hub.commits[name][-1]):
            self.send(412, {"error": "A commit has happened since. Please refresh and try again."})
            return
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = Stored(base64.b64decode(value["content"]), False)
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    self.send(400, {"error": f"LFS pointer pointed to a file that does not exist: {value['path']}"})
                    return
                files[value["path"]] = Stored(self.hub.objects[value["oid"]], True)
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            else:
                raise AssertionError(line["key"])
        self.hub.repositories[name] = files
        oid = self.hub.commit(name)
        if self.hub.lost_commits:
            self.hub.lost_commits -= 1
            self.send(502, {"error": "Bad Gateway"})
            return
        url = f"{self.hub.address}/datasets/{name}/commit/{oid}"
        self.send(200, {"success": True, "commitUrl": url, "commitOid": oid, "pullRequestUrl": None})

    def resolve(self, name: str, revision: str, path: str) -> None:
        if not (self.allowed(name) and self.is_there(name, revision)):
            return
        file = self.hub.repositories[name].get(path)
        if file is None:
            self.send(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
            return
        checksum = file.sha256 if file.lfs else file.blob
        headers = {"X-Repo-Commit": self.hub.commits[name][-1], "ETag": f'"{checksum}"', "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted is None:
            self.send(200, file.content, headers)
            return
        first, last = int(wanted[1]), min(int(wanted[2] or len(file.content)), len(file.content) - 1)
        self.send(206, file.content[first : last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{len(file.content)}"})

    def send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        """Send JSON, or bytes as they are."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        for key, value in {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def serving(hub: Hub) -> AbstractContextManager[Hub]:
    """Run a Hub on loopback."""
    return running(hub, Handler)
