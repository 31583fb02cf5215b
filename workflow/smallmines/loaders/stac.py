"""Items of the dataset's STAC catalogue for stackstac, which reads one band per asset and finds the CRS in `proj:epsg` alone.

odc-stac needs none of this: `odc.stac.load(items, bands=["B02"])` reads the catalogue as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smallmines.core.errors import UserError
from smallmines.core.files import read_json


def single_band_items(root: str | Path, year: int | None = None) -> list[dict[str, Any]]:
    """Return the items as plain dictionaries with one asset for each band, for `stackstac.stack`.

    A band's address is that of a virtual raster of GDAL (`vrt://<file>?bands=<number>`), so that nothing is copied. Use
    `stackstac.stack(items, assets=["B02"], rescale=False, xy_coords="center")`: by default stackstac puts coordinates on corners.

    Args:
        root: folder of a dataset, with `stac/`.
        year: None for all.

    Raises:
        UserError: no item in the folder, or a CRS without EPSG code.
    """
    files = sorted((Path(root) / "stac").glob("*/*.json" if year is None else f"{year}/*.json"))
    if not files:
        raise UserError(f"items of a catalogue in {root}/stac", "none", "name the folder of a published dataset and one of its years")
    return [_single_bands(path) for path in files]


def _single_bands(path: Path) -> dict[str, Any]:
    item: dict[str, Any] = read_json(path)
    if item["properties"].get("proj:epsg") is None:
        raise UserError(f"an EPSG code of the CRS in {path}", "none", "read the patches with odc.stac.load, which takes any CRS")
    assets = {}
    for name, asset in item["assets"].items():
        file = (path.parent / asset["href"]).resolve()
        for number, band in enumerate(asset["bands"], 1):
            own = {key: value for key, value in asset.items() if key not in ("bands", "eo:bands", "raster:bands")}
            href = f"vrt://{file}?bands={number}" if len(asset["bands"]) > 1 else str(file)
            assets[band["name"] if len(asset["bands"]) > 1 else name] = {**own, "href": href, "title": band["name"]}
    return {**item, "assets": assets}
