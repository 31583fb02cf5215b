"""The archives' services on loopback, for the real clients: STAC API, signed blobs, S3, Earth Engine, tokens; with faults on demand.

They serve a made archive (`miniature make`) in the manner of the Copernicus Data Space, the Planetary Computer, Earth Search
and Earth Engine: their item ids, asset keys, properties, addresses and refusals.
"""

from __future__ import annotations

import io
import json
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import rasterio
import rasterio.shutil
import shapely.geometry
from listings import as_jp2, cdse_item, earth_search_item, feature, grid, made_items, pc_item
from rasterio.windows import Window

S3_KEY, S3_SECRET = "loopback-access-key-id", "loopback-secret-access-key-0123456789"
SUBSCRIPTION = "loopback-subscription-key-3f9a"
USER, PASSWORD = "annotator@example.org", "loopback-password-77b1"
PROJECT = "loopback-project"
LIMIT = 50_331_648
"""Bytes that Earth Engine allows in a request."""


@dataclass
class Faults:
    """What goes wrong.

    Attributes:
        rate: share of requests that get a 503 or 429 (every second of them each), or a body that breaks off.
        services: which services misbehave; empty: all.
        expire_after: blob requests after which the tokens given so far are no longer accepted, once.
        locked: containers that need a subscription key.
        down: services that always answer 503.
        slow: seconds that each answer takes.
    """

    rate: float = 0.0
    services: tuple[str, ...] = ()
    expire_after: int | None = None
    locked: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    slow: float = 0.0


@dataclass
class Archives:
    """The services, running.

    Attributes:
        root: of the made archive, with catalog.json.
        page: most items a page of a search holds.
        asked: (service, path, status) of every request, in order.
        searches: body of every search of a STAC API, in order.
    """

    root: Path
    faults: Faults = field(default_factory=Faults)
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    searches: list[Mapping[str, Any]] = field(default_factory=list)
    port: int = 0
    s3_port: int = 0
    collections: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)
    images: dict[str, Path] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    page: int = 1000
    serial: int = 0
    oldest: int = 0
    blobs: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        """Of the HTTP services."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that lead the real clients here."""
        return {
            "AWS_ACCESS_KEY_ID": S3_KEY,
            "AWS_SECRET_ACCESS_KEY": S3_SECRET,
            "SMALLMINES_CDSE_S3_ENDPOINT": f"http://127.0.0.1:{self.s3_port}",
            "SMALLMINES_AWS_S3_ENDPOINT": f"http://127.0.0.1:{self.s3_port}",
            "PC_SDK_SAS_URL": f"{self.address}/api/sas/v1/token",
            "PC_SDK_SUBSCRIPTION_KEY": SUBSCRIPTION,
            "CDSE_USERNAME": USER,
            "CDSE_PASSWORD": PASSWORD,
            "CDSE_TOKEN_URL": f"{self.address}/cdse-token",
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.root.parent / "loopback/service-account.json"),
            "GDAL_HTTP_RETRY_DELAY": "0.05",
            "http_proxy": self.address,
            "no_proxy": "127.0.0.1,localhost",
        }

    def catalogue(self, provider: str) -> str:
        """Address of a provider's catalogue here."""
        return {"earth_engine": self.address, "aws": f"{self.address}/earth_search", "cdse_https": f"{self.address}/cdse"}.get(
            provider, f"{self.address}/{provider}"
        )

    def count(self, service: str) -> int:
        """Requests that a service got so far."""
        return Counter(name for name, _, _ in self.asked)[service]

    def fault(self, service: str) -> str | None:
        """What goes wrong with the next request of a service: a status, `truncated`, or nothing."""
        if self.faults.slow:
            time.sleep(self.faults.slow)
        if service in self.faults.down:
            return "503"
        if not self.faults.rate or (self.faults.services and service not in self.faults.services):
            return None
        with self.lock:
            number = len(self.asked) + 1
        every = round(1 / self.faults.rate)
        return None if number % every else ("503", "429", "truncated")[number // every % 3]

    def note(self, service: str, path: str, status: int) -> None:
        """Remember a request."""
        with self.lock:
            self.asked.append((service, path, status))


def _described(archives: Archives) -> dict[str, Path]:
    """Fill the archives' collections and files; the S3 objects by `bucket/key`."""
    root, address, objects = archives.root, archives.address, {}
    lists: dict[str, dict[str, list[dict[str, Any]]]] = {"cdse": {}, "planetary_computer": {}, "earth_search": {}}
    for item in made_items(root, "sentinel-2-l2a"):
        folder = root / "sentinel-2-l2a" / item["id"]
        paths = {name: folder / asset["href"] for name, asset in item["assets"].items()}
        for provider, (made, places) in {
            "cdse": cdse_item(item, address),
            "planetary_computer": pc_item(item),
            "earth_search": earth_search_item(item, address),
        }.items():
            lists[provider].setdefault(made["collection"], []).append(made)
            for name, place in places.items():
                if provider == "cdse":
                    objects[f"eodata/{place}"] = paths[name]
                else:
                    archives.files[place] = paths[name]
    for collection, account in (
        ("sentinel-1-rtc", "http://sentinel1euwestrtc.blob.core.windows.net/sentinel1-grd-rtc"),
        ("cop-dem-glo-30", "http://elevationeuwest.blob.core.windows.net/copernicus-dem"),
    ):
        for item in made_items(root, collection):
            paths = {name: root / collection / item["id"] / asset["href"] for name, asset in item["assets"].items()}
            assets = {}
            for name, path in paths.items():
                href = f"{account}/{item['id']}/{name}.tif"
                archives.files[href] = path
                assets[name] = grid(item["assets"][name]) | {"href": href}
            lists["planetary_computer"].setdefault(collection, []).append(feature(item, item["id"], collection, item["properties"], assets))
            if collection == "cop-dem-glo-30":
                key = f"copernicus-dem-30m/{item['id']}/{item['id']}.tif"
                objects[key] = paths["data"]
                archives.images[f"COPERNICUS/DEM/GLO30/{item['id']}"] = paths["data"]
                asset = {"data": grid(item["assets"]["data"]) | {"href": f"s3://{key}"}}
                made = feature(item, item["id"], collection, item["properties"], asset)
                lists["earth_search"].setdefault(collection, []).append(made)
    archives.collections = lists
    return objects


# HTTP ------------------------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """One request to a catalogue, a blob (through the proxy), Earth Engine or a token service."""

    server: Server
    protocol_version = "HTTP/1.1"

    @property
    def archives(self) -> Archives:
        """What is served."""
        return self.server.archives

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, body: bytes | None) -> None:
        parts = urlsplit(self.path)
        service, work = self._service(parts.scheme, parts.netloc, parts.path)
        fault = self.archives.fault(service)
        self.service = service
        if fault in ("503", "429") or (fault == "truncated" and service not in ("stac", "blob", "odata", "earth-search-data")):
            self.send(int(fault) if fault and fault.isdigit() else 503, b"busy", "text/plain", {"Retry-After": "0"})
            return
        self.truncated = fault == "truncated"
        work(parts.path, parse_qs(parts.query), body)

    def _service(self, scheme: str, host: str, path: str) -> tuple[str, Callable[..., None]]:
        if host.endswith(".blob.core.windows.net"):
            return "blob", self.blob
        first = path.split("/")[1]
        if first in self.archives.collections:
            return "stac", self.stac
        table = {"api": ("sas", self.sas), "odata": ("odata", self.odata), "earth-search-data": ("earth-search-data", self.plain)}
        table |= {"cdse-token": ("token", self.cdse_token), "google-token": ("token", self.google_token)}
        return table.get(first, ("earth_engine", self.earth_engine))

    def send(self, status: int, body: bytes, kind: str = "application/json", headers: Mapping[str, str] | None = None) -> None:
        self.archives.note(self.service, self.path.split("?")[0], status)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if getattr(self, "truncated", False) and len(body) > 200:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self.wfile.write(body)

    def json(self, value: Any, status: int = 200) -> None:
        self.send(status, json.dumps(value).encode())

    # STAC API

    def stac(self, path: str, query: Mapping[str, list[str]], body: bytes | None) -> None:
        provider, *rest = path.strip("/").split("/")
        address = f"{self.archives.address}/{provider}"
        known = self.archives.collections[provider]
        if not rest:
            conforms = ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"]
            conforms += ["https://api.stacspec.org/v1.0.0/collections", "https://api.stacspec.org/v1.0.0/ogcapi-features"]
            links = [{"rel": rel, "href": f"{address}{tail}", "type": "application/json"} for rel, tail in (("self", ""), ("root", ""))]
            links.append({"rel": "data", "href": f"{address}/collections", "type": "application/json"})
            for method in ("GET", "POST"):
                links.append({"rel": "search", "href": f"{address}/search", "type": "application/geo+json", "method": method})
            self.json(
                {"type": "Catalog", "id": provider, "stac_version": "1.0.0", "description": "", "conformsTo": conforms, "links": links}
            )
        elif rest[0] == "collections" and len(rest) == 2 and rest[1] in known:
            extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
            head = {"type": "Collection", "id": rest[1], "stac_version": "1.0.0", "description": "", "license": "other", "links": []}
            self.json(head | {"extent": extent})
        elif rest == ["search"] and body is not None:
            self._search(known, json.loads(body), address)
        else:
            self.json({"code": "NotFoundError", "description": f"{'/'.join(rest)} not found"}, 404)

    def _search(self, known: Mapping[str, list[dict[str, Any]]], asked: Mapping[str, Any], address: str) -> None:
        with self.archives.lock:
            self.archives.searches.append(asked)
        where = (
            shapely.geometry.shape(asked["intersects"])
            if asked.get("intersects")
            else shapely.box(*asked.get("bbox", (-180, -90, 180, 90)))
        )
        first, _, last = (asked.get("datetime") or "/").partition("/")
        found = [
            item
            for collection in asked.get("collections", known)
            for item in known.get(collection, [])
            if shapely.geometry.shape(item["geometry"]).intersects(where)
            and (not first or item["properties"]["datetime"] >= first)
            and (not last or item["properties"]["datetime"] <= last)
        ]
        found.sort(key=lambda item: (item["properties"]["datetime"], item["id"]), reverse=True)
        size, start = min(int(asked.get("limit", 10)), self.archives.page), int(asked.get("token", 0))
        links = []
        if start + size < len(found):
            more = dict(asked) | {"token": str(start + size)}
            links.append({"rel": "next", "method": "POST", "href": f"{address}/search", "type": "application/geo+json", "body": more})
        self.json({"type": "FeatureCollection", "features": found[start : start + size], "links": links})

    # blobs and files

    def sas(self, path: str, query: Mapping[str, list[str]], body: bytes | None) -> None:
        container = path.split("/token/")[1]
        if container.split("/")[1] in self.archives.faults.locked and self.headers.get("Ocp-Apim-Subscription-Key") != SUBSCRIPTION:
            self.json({"statusCode": 403, "message": "Access denied due to missing subscription key"}, 403)
            return
        with self.archives.lock:
            self.archives.serial += 1
            serial = self.archives.serial
        expiry = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        self.json({"msft:expiry": expiry, "token": f"se={expiry}&sp=rl&sv=2021-06-08&sig=loopback-signature-{serial}"})

    def blob(self, path: str, query: Mapping[str, list[str]], body: bytes | None) -> None:
        with self.archives.lock:
            self.archives.blobs += 1
            if self.archives.faults.expire_after is not None and self.archives.blobs > self.archives.faults.expire_after:
                self.archives.oldest, self.archives.faults.expire_after = self.archives.serial, None
        signature = re.fullmatch(r"loopback-signature-(\d+)", query.get("sig", [""])[0])
        if not signature or int(signature[1]) <= self.archives.oldest:
            self.send(403, b"<?xml version='1.0'?><Error><Code>AuthenticationFailed</Code></Error>", "application/xml")
            return
        host = urlsplit(self.path).netloc
        self._file(self.archives.files.get(f"http://{host}{unquote(path)}"))

    def plain(self, path: str, query: Mapping[str, list[str]], body: bytes | None) -> None:
        self._file(self.archives.files.get(self.archives.address + unquote(path)))

    def odata(self, path: str, query: Mapping[str, list[str]], body: bytes | None) -> None:
        if self.headers.get("Authorization") != f"Bearer loopback-bearer-{self.archives.serial}":
            self.send(401, b'{"detail": "Expired or missing token"}')
            return
        nodes = re.findall(r"Nodes\(([^)]*)\)", unquote(path))
        self._file(self.server.objects.get("/".join(nodes)))

    def _file(self, file: Path | None) -> None:
        if file is None or not file.is_file():
            self.send(404, b"not found", "text/plain")
            return
        data = file.read_bytes()
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not span:
            self.send(200, data, "application/octet-stream", {"Accept-Ranges": "bytes"})
            return
        first, last = int(span[1]), min(int(span[2] or len(data) - 1), len(data) - 1)
        if first >= len(data):
            self.send(416, b"")
            return
        self.send(206, data[first : last + 1], "application/octet-stream", {"Content-Range": f"bytes {first}-{last}/{len(data)}"})

    # tokens

    def cdse_token(self, path: str, query: Mapping[str, list[str]], body: bytes | None) -> None:
        form = parse_qs((body or b"").decode())
        if form.get("username") != [USER] or form.get("password") != [PASSWORD]:
            self.json({"error": "invalid_grant", "error_description": "Invalid user credentials"}, 401)
            return
        with self.archives.lock:
            self.archives.serial += 1
        self.json({"access_token": f"loopback-bearer-{self.archives.serial}", "expires_in": 600, "token_type": "Bearer"})

    def google_token(self, path: str, query: Mapping[str, list[str]], body: bytes | None) -> None:
        self.json({"access_token": "loopback-google-token", "expires_in": 3600, "token_type": "Bearer"})

    # Earth Engine

    def earth_engine(self, path: str, query: Mapping[str, list[str]], body: bytes | None) -> None:
        import ee

        tests = Path(ee.__file__).parent / "tests"
        if path.endswith("/$discovery/rest"):
            known = json.loads((tests / "cloud_api_discovery_document.json").read_bytes())
            method = known["resources"]["projects"]["resources"]["assets"]["methods"]["listAssets"]
            method["parameters"]["filter"] = {"location": "query", "type": "string"}  # the wheel's document is older than its library
            self.json(known)
            return
        if self.headers.get("Authorization") != "Bearer loopback-google-token":
            self._refuse(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        elif path.endswith("/algorithms"):
            self.send(200, (tests / "algorithms.json").read_bytes())
        elif path.endswith(":computePixels"):
            self._pixels(json.loads(body or b"{}"))
        elif ":listAssets" in path or ":listImages" in path:
            collection = path.split("/assets/")[1].split(":")[0]
            images = [self._image(name) for name in self.archives.images if name.startswith(f"{collection}/")]
            if not images:
                self._refuse(404, "NOT_FOUND", f"Collection '{collection}' not found.")
                return
            asked = re.search(r"intersects\(\"(.*)\"\)", (query.get("filter") or [""])[0])
            if asked:
                where = shapely.geometry.shape(json.loads(asked[1].replace("\\", "").replace("'", '"')))
                images = [one for one in images if shapely.geometry.shape(one["geometry"]).intersects(where)]
            self.json({"assets": images})
        elif "/assets/" in path and path.split("/assets/")[1] in self.archives.images:
            self.json(self._image(path.split("/assets/")[1]))
        else:
            self._refuse(404, "NOT_FOUND", f"Asset {path} not found (does not exist or caller does not have access).")

    def _refuse(self, status: int, code: str, message: str) -> None:
        self.json({"error": {"code": status, "message": message, "status": code}}, status)

    def _image(self, name: str) -> dict[str, Any]:
        with rasterio.open(self.archives.images[name]) as source:
            t, box, (height, width) = source.transform, source.bounds, source.shape
        ring = [[box.left, box.top], [box.left, box.bottom], [box.right, box.bottom], [box.right, box.top], [box.left, box.top]]
        affine = {"scaleX": t.a, "shearX": t.b, "translateX": t.c, "shearY": t.d, "scaleY": t.e, "translateY": t.f}
        grid = {"crsCode": "EPSG:4326", "dimensions": {"width": width, "height": height}, "affineTransform": affine}
        return {
            "type": "IMAGE",
            "name": f"projects/earthengine-public/assets/{name}",
            "id": name,
            "startTime": "2010-12-01T00:00:00Z",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "bands": [{"id": "DEM", "dataType": {"precision": "FLOAT"}, "grid": grid}],
        }

    def _pixels(self, asked: Mapping[str, Any]) -> None:
        constants = re.findall(r'"constantValue": "([^"]+)"', json.dumps(asked["expression"]))
        name = next((one for one in constants if one in self.archives.images), None)
        size, t = asked["grid"]["dimensions"], asked["grid"]["affineTransform"]
        if name is None:
            self._refuse(404, "NOT_FOUND", f"Image.load: image asset {constants} not found.")
            return
        if size["width"] * size["height"] * 4 > LIMIT:
            wanted = size["width"] * size["height"] * 4
            self._refuse(400, "INVALID_ARGUMENT", f"Total request size ({wanted} bytes) must be less than or equal to {LIMIT} bytes.")
            return
        with rasterio.open(self.archives.images[name]) as source:
            col, row = (
                (t["translateX"] - source.transform.c) / source.transform.a,
                (t["translateY"] - source.transform.f) / source.transform.e,
            )
            assert abs(t["scaleX"] - source.transform.a) < 1e-15, "pixels are asked for on the native grid"
            window = Window(round(col), round(row), size["width"], size["height"])
            assert abs(col - round(col)) < 1e-6
            assert abs(row - round(row)) < 1e-6
            values = source.read(1, window=window, boundless=True, fill_value=0)
        array = np.zeros(values.shape, [("DEM", "<f4")])
        array["DEM"] = values
        file = io.BytesIO()
        np.save(file, array)
        self.send(200, file.getvalue(), "application/octet-stream")


class Server(ThreadingHTTPServer):
    """The HTTP services."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, archives: Archives) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.archives = archives
        self.objects: dict[str, Path] = {}


# S3 ----------------------------------------------------------------------------------------------------------------------


class Guarded:
    """The S3 service with a look at the key id (public buckets need none), faults and a record of requests in front of it."""

    def __init__(self, app: Any, archives: Archives) -> None:
        self.app, self.archives = app, archives

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path, signed = environ["PATH_INFO"], environ.get("HTTP_AUTHORIZATION", "")
        fault = self.archives.fault("s3") if environ["REQUEST_METHOD"] in ("GET", "HEAD") else None
        status, code = None, ""
        if fault:
            status, code = ("429 Too Many Requests", "SlowDown") if fault == "429" else ("503 Service Unavailable", "SlowDown")
        elif not path.startswith("/copernicus-dem-30m") and f"Credential={S3_KEY}/" not in signed:
            status, code = "403 Forbidden", "InvalidAccessKeyId"
        if status is None:
            self.archives.note("s3", path, 200)
            return self.app(environ, start_response)
        self.archives.note("s3", path, int(status[:3]))
        body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]


def _s3(archives: Archives, objects: Mapping[str, Path]) -> Any:
    """The S3 service with its buckets, running."""
    import boto3
    from moto.core.config import default_user_config
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    default_user_config["core"]["service_whitelist"] = None
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, Guarded(DomainDispatcherApplication(create_backend_app), archives), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    archives.s3_port = server.server_port
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        region_name="us-east-1",
        aws_access_key_id=S3_KEY,
        aws_secret_access_key=S3_SECRET,
    )
    for bucket in sorted({name.split("/")[0] for name in objects}):
        client.create_bucket(Bucket=bucket)
    for name, path in objects.items():
        bucket, _, key = name.partition("/")
        public = {"ACL": "public-read"} if bucket == "copernicus-dem-30m" else {}
        client.put_object(Bucket=bucket, Key=key, Body=path.read_bytes(), **public)
    return server


def _service_account(path: Path, address: str) -> None:
    """A key file of a service account whose tokens come from here."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {"type": "service_account", "project_id": PROJECT, "private_key_id": "loopback", "private_key": pem, "client_id": "1"}
    known |= {"client_email": f"loopback@{PROJECT}.iam.gserviceaccount.com", "token_uri": f"{address}/google-token"}
    path.write_text(json.dumps(known))


@contextmanager
def serving(root: Path, faults: Faults | None = None) -> Iterator[Archives]:
    """Run the services over the made archive below `root` (the folder with catalog.json)."""
    archives = Archives(root, faults or Faults())
    server = Server(archives)
    archives.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    objects = _described(archives)
    jp2 = root.parent / "loopback/jp2"
    for name, path in objects.items():
        if name.endswith(".jp2"):
            objects[name] = as_jp2(path, jp2 / path.parent.name / f"{path.stem}.jp2")
    server.objects = {"/".join(name.split("/")[7:]): path for name, path in objects.items() if name.startswith("eodata/")}
    _service_account(root.parent / "loopback/service-account.json", archives.address)
    quiet = archives.faults
    archives.faults = Faults()
    s3 = _s3(archives, objects)
    archives.asked.clear()
    archives.faults = quiet
    try:
        yield archives
    finally:
        server.shutdown()
        s3.shutdown()
