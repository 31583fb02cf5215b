"""The comparison with a release as a rule makes it: files, and what the page says was reproduced."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import rasterio

from fake_results import make_results, publish
from smallmines.compare.page import About, compare_with_release, in_words
from smallmines.core.files import sha256, write_json
from smallmines.core.patch_files import patch_files, read_header
from smallmines.core.product import PATCH_BANDS
from smallmines.core.release import Release, ReleasedMask, write_release


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of six tiles in 2016, a copy of it as the release (one tile differs in B02, one lacks), and the files of the rules."""
    root = tmp_path_factory.mktemp("page")
    results = make_results(root)
    shutil.copytree(publish(results), root / "SmallMinesDS")
    with rasterio.open(root / "SmallMinesDS/2016/IMAGE/IMG_GH_0001_2016.tif", "r+") as file:
        file.write(file.read(1) + 5, 1)
    for path in root.glob("SmallMinesDS/2016/*/*_GH_0006_2016.tif"):
        path.unlink()
    headers = [read_header(path) for path in patch_files(root / "SmallMinesDS", ["MASK"])]
    masks = tuple(
        ReleasedMask(header.path.name, 2016, str(header.path), sha256(header.path), header.left, header.top) for header in headers
    )
    write_release(root / "release.json", Release("folder", "folder", "x", None, None, None, masks, {"2016": ["0006"]}, {"2016": []}))
    address = {"address": "ellaampy/SmallMinesDS/SmallMinesDS.zip", "revision": "1" * 40, "sha256": "2" * 64}
    write_json(root / "images.json", {"folder": str(root / "SmallMinesDS"), **address})
    return root


def page(made: Path, source: str, hold_out: float = 0.5) -> tuple[str, dict[str, object]]:
    (dataset,) = made.rglob("dataset")
    release = None if source == "people" else made / "release.json"
    target = made / source / "compare.html"
    about = About(source, hold_out, 1, str(made / "user"), "Mines & more")
    compare_with_release(dataset, made / "images.json", next(made.rglob("grid.json")), release, about, 1, target)
    return target.read_text(), json.loads((made / source / "compare.json").read_text())


def test_the_page_says_what_was_reproduced(made: Path) -> None:
    text, document = page(made, "people")
    assert "<title>Mines &amp; more: comparison with the release</title>" in text
    assert "Images of 5 tiles: 4 equal in every value, 1 on the same pixels with other values. Tiles without" in text
    assert "Tiles without a partner: 1 of ours, 0 of the release." in text
    assert re.search(r"<td>0001</td><td>0001</td><td>other values</td><td>–</td><td>9\d\.\d\u00a0%</td><td>100.0\u00a0%</td>", text)
    assert "<td>0006</td><td>–</td><td>only ours</td>" in text
    assert f"Reproduced in every pixel: {', '.join(PATCH_BANDS[1:])}." in text
    assert re.search(r"Not reproduced in every pixel; share of equal pixels: B02 \d\d\.\d\u00a0%\.", text)
    assert "1" * 40 in text
    assert "proves nothing" not in text
    assert document["verdict"] == "independent: no label comes from these masks"
    assert (made / "people/compare_2016.png").is_file()
    assert (made / "people/compare.csv").read_text().count("\n") == 7
    assert text.count("data:image/png;base64") == 1


def test_masks_of_the_release_prove_nothing(made: Path) -> None:
    text, document = page(made, "released_masks")
    assert text.count("The masks of this dataset are those of the release. Comparing them with it proves nothing.") == 2
    assert str(document["verdict"]).startswith("not an independent comparison")
    assert list(document["mask_by_labels"]) == ["imported"]  # type: ignore[call-overload]


def test_tiles_that_are_held_out_are_apart(made: Path) -> None:
    text, document = page(made, "released_samples")
    assert "but for the tiles that are held out" in text
    assert set(document["mask_by_labels"]) == {"imported", "held_out"}  # type: ignore[call-overload]
    assert re.fullmatch(r"independent in the [1-4] held-out tiles and years only", str(document["verdict"]))


def test_shares_near_all_and_none_are_not_rounded_to_them() -> None:
    bands = {"B02": {"equal": 0.99999}, "B03": {"equal": 0.00001}, "B04": {"equal": None}, "DEM": {"equal": 1.0}}
    counts = dict.fromkeys(("tiles", "exact", "shifted", "other", "only_ours", "only_published"), 1)
    images = {"equal": 3, "other grid": 1}
    assert in_words({"bands": bands, "images": images, **counts})[1:] == [
        "Reproduced in every pixel: DEM.",
        "Not reproduced in every pixel; share of equal pixels: B02 > 99.9\u00a0%, B03 < 0.1\u00a0%.",
        "Not compared, since no tile has both on one grid: B04.",
    ]
