"""Measure time and memory of three readers that bring the same Sentinel-2 pixels onto the grid of a block.

`python tests/bench/readers.py results/bench` (part of `make bench`) reads all bands of the items of one datatake over block 1, with two
threads where a reader has threads. Each reader runs in its own process; the pixels are compared.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "workflow"))

from smallmines.core.files import read_json  # noqa: E402
from smallmines.core.raster import strips, window_geobox  # noqa: E402
from smallmines.grid.lattice import read_lattice  # noqa: E402

READERS = ("warpedvrt", "stackstac", "odc-stac", "stackstac, defaults")


def parts(reader: str, href: str, geobox: Any) -> Iterator[np.ndarray]:
    """Yield a file on the grid, nearest, in strips of 1024 rows (odc-stac and stackstac compute strips of a lazy array)."""
    import rasterio

    if reader == "warpedvrt":
        from smallmines.archive.read import read_on_grid

        with rasterio.open(href) as source:
            for strip in strips(tuple(geobox.shape), 1024):
                yield read_on_grid(source, window_geobox(geobox, strip), "nearest")
        return
    if reader == "stackstac":
        from smallmines.archive.stackstac_reader import cube_of

        with rasterio.open(href) as source:
            cube = cube_of(source, geobox)
    elif reader == "odc-stac":
        import odc.stac
        import pystac

        item = pystac.Item.from_dict(item_of(href))
        item.set_self_href(str(Path(href).resolve().with_suffix(".json")))
        cube = odc.stac.load([item], bands=["band"], geobox=geobox, chunks={"x": 1024, "y": 1024})["band"][0]
    else:  # stackstac with its defaults: float64, NaN outside
        import stackstac

        box = geobox.boundingbox.bbox
        options = {"assets": ["band"], "epsg": geobox.crs.epsg, "resolution": abs(geobox.transform.a), "bounds": tuple(box)}
        cube = stackstac.stack([item_of(href)], **options, xy_coords="center")[0, 0]
    for strip in strips(tuple(geobox.shape), 1024):
        rows = slice(strip.row_off, strip.row_off + strip.height)
        yield np.nan_to_num(cube[rows].compute(scheduler="threads", num_workers=2).to_numpy()).astype(np.uint16)


def item_of(href: str) -> dict[str, Any]:
    """Return a STAC item of one file, as the readers need it."""
    import rasterio
    from odc.geo.geobox import GeoBox

    with rasterio.open(href) as source:
        box = GeoBox(source.shape, source.transform, source.crs).boundingbox.polygon.to_crs("EPSG:4326")
        epsg, dtype, transform, shape = source.crs.to_epsg(), source.dtypes[0], list(source.transform[:6]), list(source.shape)
    asset = {
        "href": str(Path(href).resolve()),
        "roles": ["data"],
        "type": "image/tiff; application=geotiff",
        "raster:bands": [{"nodata": 0, "data_type": dtype}],
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "item",
        "geometry": json.loads(json.dumps(box.json)),
        "bbox": list(box.boundingbox.bbox),
        "properties": {"datetime": "2022-01-01T00:00:00Z", "proj:epsg": epsg},
        "links": [],
        "stac_extensions": [
            "https://stac-extensions.github.io/projection/v1.0.0/schema.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
        ],
        "assets": {"band": asset | {"proj:transform": transform, "proj:shape": shape, "proj:epsg": epsg}},
    }


def read_all(reader: str, results: Path) -> None:
    """Read everything with one reader; print digest, seconds and peak memory."""
    geobox = read_lattice(results / "grid/grid.json").block("1")
    manifest = read_json(next(results.glob("manifests/*/s2.json")))
    items = [item for item in manifest["chosen"] if item["rank"] == 1]
    for _ in parts(reader, items[0]["hrefs"]["SCL"], geobox[:64, :64]):  # imports do not count
        pass
    digest, began, pixels = hashlib.sha256(), time.monotonic(), 0
    for item in items:
        for _, href in sorted(item["hrefs"].items()):
            for part in parts(reader, href, geobox):
                digest.update(np.ascontiguousarray(part.astype(np.uint16)))
                pixels += part.size
    seconds = time.monotonic() - began
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024  # type: ignore[index]
    print(json.dumps([digest.hexdigest()[:12], round(seconds, 1), peak, pixels]))


def main() -> None:
    """Run all readers, each in a process, and print a table."""
    if len(sys.argv) == 3:
        read_all(sys.argv[2], Path(sys.argv[1]))
        return
    print("reader               seconds  ratio  MB    Mpx   pixels")
    first: list[Any] | None = None
    for reader in READERS:
        done = subprocess.run([sys.executable, __file__, sys.argv[1], reader], capture_output=True, text=True, check=True)
        measured = json.loads(done.stdout.splitlines()[-1])
        first = first or measured
        same = "the same" if measured[0] == first[0] else "DIFFERENT"
        _, seconds, peak, pixels = measured
        print(f"{reader:20} {seconds:7.1f} {seconds / first[1]:6.1f} {peak:5d} {pixels / 1e6:6.0f}   {same}", flush=True)


if __name__ == "__main__":
    main()
