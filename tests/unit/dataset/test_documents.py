"""The documents of a published folder: numbers against the files, standards against their own validators, seal and archive."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pystac
import pytest
import rasterio

from fake_results import Results, document, make_results, publish
from smallmines.config.publish import CLASS_DEFINITION, Publish
from smallmines.core.errors import UserError
from smallmines.core.files import read_json, sha256, write_json
from smallmines.core.product import BANDS, PATCH_BANDS
from smallmines.dataset.band_statistics import QUANTILES, STEP, band_statistics, merge_statistics
from smallmines.dataset.columns import COLUMNS, RELEASED_COLUMNS
from smallmines.dataset.croissant import rai
from smallmines.dataset.documents import TEMPLATES, cite, class_definitions, interval, licence_address, number, release_name, render
from smallmines.dataset.facts import composite_findings, read_facts
from smallmines.dataset.index import read_index
from smallmines.dataset.seal import SUMS, published, write_archive
from smallmines.dataset.stac import write_catalogue
from smallmines.doctor.documents import _stated as stated_findings
from smallmines.report.figures import FIGURES
from smallmines.report.page import Sources, write_page


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    made = make_results(tmp_path_factory.mktemp("results"), side=64)
    publish(made)
    return made


@pytest.fixture(scope="module")
def dataset(results: Results) -> Path:
    return results.folder / "dataset"


@pytest.fixture(scope="module")
def facts(dataset: Path) -> dict[str, object]:
    known: dict[str, object] = read_json(dataset / "facts.json")
    return known


def masks(dataset: Path) -> dict[str, np.ndarray]:
    return {path.stem[5:]: rasterio.open(path).read(1) for path in sorted((dataset / "2016/MASK").glob("*.tif"))}


def images(dataset: Path) -> np.ndarray:
    return np.stack([rasterio.open(path).read() for path in sorted((dataset / "2016/IMAGE").glob("*.tif"))])


def test_the_facts_are_those_of_the_files(dataset: Path, facts: dict[str, dict[str, dict[str, float]]]) -> None:
    year, masked = facts["years"]["2016"], masks(dataset)
    shares = [100 * (mask == 1).sum() / (mask != 255).sum() for mask in masked.values()]
    assert (facts["tiles"], facts["patches"], year["patches"]) == (6, 6, 6)
    assert facts["area_km2"] == pytest.approx(6 * 0.64**2)
    assert year["mining_percent_mean"] == pytest.approx(np.mean(shares), abs=1e-4)
    assert year["mining_percent_max"] == pytest.approx(max(shares), abs=1e-4)
    assert year["mining_ha"] == pytest.approx(sum((mask == 1).sum() for mask in masked.values()) / 100, abs=1e-4)
    assert year["mask_nodata_percent"] == pytest.approx(100 * np.mean([(mask == 255).mean() for mask in masked.values()]), abs=1e-4)
    assert facts["splits"] == {"test": 2, "train": 2, "val": 2}
    assert facts["crs"] == "EPSG:32630"
    for band, values in enumerate(images(dataset).transpose(1, 0, 2, 3)):
        valid, told = values[values != -9999].astype(float), facts["bands"]["all"][PATCH_BANDS[band]]
        assert told["count"] == valid.size
        for key, value in {"mean": valid.mean(), "sd": valid.std(), "min": valid.min(), "max": valid.max()}.items():
            assert told[key] == pytest.approx(value, abs=2e-4), (band, key)


def test_quantiles_are_those_of_the_pixels(dataset: Path) -> None:
    found = band_statistics(sorted((dataset / "2016/IMAGE").glob("*.tif")))
    for band, values in enumerate(images(dataset).transpose(1, 0, 2, 3)):
        expected = np.quantile(values[values != -9999], QUANTILES, method="inverted_cdf")
        assert found[PATCH_BANDS[band]]["quantiles"] == pytest.approx(expected.tolist(), abs=STEP[band] * 1.001), band


def test_mixed_versions_of_software_are_told_where_a_data_user_reads(dataset: Path, tmp_path: Path) -> None:
    facts = read_facts(dataset / "facts.json")
    assert facts["software"]["mixed"] == {}
    about = Publish()
    assert "Made with gdal 3.10.3, otb 8.1.1." in render(facts, about)["DATASHEET.md"]
    facts["software"] = {
        "versions": {"gdal": ["3.10.3", "3.11.0"], "otb": ["8.1.1"]},
        "mixed": {"gdal": {"3.10.3": {"composites": 8}, "3.11.0": {"masks": 2}}},
        "unknown": {},
    }
    told = render(facts, about)["DATASHEET.md"]
    assert "Made with gdal 3.10.3 and 3.11.0, otb 8.1.1. **Made with mixed versions** of gdal:" in told
    write_json(tmp_path / "facts.json", facts)
    write_page(page_sources(dataset, tmp_path, facts=tmp_path / "facts.json"), about, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Made with mixed versions of software." in page
    assert '<td class="left">S1A_empty</td><td>25.4</td><td class="left">no data on the cells of the area</td>' in page
    assert "gdal: 3.10.3 (8 composites); 3.11.0 (2 masks)." in page


def test_statistics_of_years_together_are_those_of_all_pixels(dataset: Path) -> None:
    paths = sorted((dataset / "2016/IMAGE").glob("*.tif"))
    parts, whole = [band_statistics(paths[:2]), band_statistics(paths[2:])], band_statistics(paths)
    for name, told in merge_statistics(parts).items():
        assert told["count"] == whole[name]["count"]
        assert all(told[key] == pytest.approx(whole[name][key], abs=2e-4) for key in ("mean", "sd", "min", "max"))
    none = band_statistics([])
    assert none["B02"] == {"count": 0, "mean": None, "sd": None, "min": None, "max": None, "quantiles": []}
    assert merge_statistics([none, parts[0]])["DEM"]["count"] == parts[0]["DEM"]["count"]


def numbers(text: str) -> list[str]:
    return re.findall(r"−?\d+(?:\.\d+)?", text)


def test_the_card_says_where_the_images_come_from_and_how_they_differ(dataset: Path, facts: dict[str, Any]) -> None:
    differs = "the same Collection-1 products as COGs, but not all of them: dates may be missing"
    assert facts["sources"] == [
        {"sensor": "s2", "years": ["2016"], "provider": "earth_search", "edition": None, "differs": differs},
        {"sensor": "dem", "years": ["static"], "provider": "aws", "edition": None, "differs": "the 2021 edition of the DEM"},
    ]
    card = (dataset / "README.md").read_text()
    assert f"| Sentinel-2 L2A | 2016 | earth_search | {differs} |" in card
    assert "| Copernicus DEM GLO-30 | all | aws | the 2021 edition of the DEM |" in card


def test_every_number_of_the_documents_is_computed(dataset: Path, facts: dict[str, object]) -> None:
    """A number in the text that is not in the template comes from the facts or the settings, and none of the template is a result."""
    about = Publish(title="Made up", authors=("A. Nobody",))
    known: set[float] = set()

    def gather(value: object) -> None:
        if isinstance(value, dict):
            for key, one in value.items():
                gather(str(key))
                gather(one)
        elif isinstance(value, list | tuple):
            known.add(float(len(value)))
            for one in value:
                gather(one)
        elif isinstance(value, bool) or value is None:
            pass
        elif isinstance(value, int | float):
            known.update({float(value), 100.0 * value})
        else:
            known.update(float(one.replace("−", "-")) for one in numbers(str(value)))

    gather(facts)
    gather(about.model_dump(mode="json"))
    known |= {float(place) for place in range(1, len(BANDS) + 1)}  # the bands' places
    fixed = " ".join((*[band.meaning for band in BANDS], *[band.name for band in BANDS], *[column.meaning for column in COLUMNS.values()]))
    for name, template in TEMPLATES.items():
        text = (dataset / name).read_text(encoding="utf-8")
        folder = Path(render.__code__.co_filename).with_name("templates")
        source = "".join((folder / file).read_text(encoding="utf-8") for file in (template, "labels.md.j2"))
        allowed = set(numbers(source)) | set(numbers(fixed)) | set(numbers(licence_address(about.license)))
        for word in sorted(set(numbers(text)) - allowed):
            digits = len(word.partition(".")[2])
            value = float(word.replace("−", "-"))
            assert any(math.isclose(round(one, digits), value, abs_tol=10 ** -(digits + 6)) for one in known), (name, word)
    for result in ("6 tiles", "| 2016 | 2016-01-01 – 2016-01-31 | 6 |", "0.930 (0.880 – 0.980)", "test 2, train 2, val 2"):
        assert result in (dataset / "README.md").read_text(encoding="utf-8")


def test_card_and_datasheet_say_what_counts_as_mining(dataset: Path, facts: dict[str, object]) -> None:
    assert facts["class_definition"] == CLASS_DEFINITION == Publish().class_definition
    assert f"**What counts as mining.** {CLASS_DEFINITION}\n" in (dataset / "README.md").read_text(encoding="utf-8")
    assert f"**What counts as mining?** {CLASS_DEFINITION}\n" in (dataset / "DATASHEET.md").read_text(encoding="utf-8")
    other = {**facts, "class_definition": "Ponds and sand."}
    assert "**What counts as mining.** Ponds and sand.\n" in render(other, Publish())["README.md"]
    older = {name: value for name, value in facts.items() if name != "class_definition"}
    assert not [name for name, text in render(older, Publish()).items() if "What counts as mining" in text]


def test_regions_with_other_definitions_are_told_apart() -> None:
    regions = [{"name": "east", "class_definition": "Pits."}, {"name": "west"}]
    assert class_definitions({"class_definition": "", "regions": regions}) == [("east", "Pits."), ("west", "not stated")]
    assert class_definitions({"class_definition": "Pits.", "regions": regions}) == [("", "Pits.")]
    assert class_definitions({}) == []


def test_the_documents_speak_of_evidence_and_of_harm(dataset: Path) -> None:
    sheet, card = ((dataset / name).read_text(encoding="utf-8") for name in ("DATASHEET.md", "README.md"))
    assert "**On which evidence?**" in sheet
    assert "<https://www.google.com/help/terms_maps/>" in sheet
    assert "**Can it do harm?** Yes." in sheet
    assert "## Responsible use" in card


def test_documents_without_agreement_and_accuracy_say_so(facts: dict[str, dict[str, dict[str, object]]]) -> None:
    poor = json.loads(json.dumps(facts))
    poor["years"]["2016"] |= {"agreement": [], "accuracy": None}
    poor["radiometry"] = "dn_harmonised"
    text = render(poor, Publish())["README.md"]
    assert "agreement is not known" in text
    assert "how right the masks are is not known" in text
    assert "carry no offset" in text
    assert "Authors not stated" in text


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ({"proved": 6}, "Dark pixels prove it in every patch."),
        ({"proved": 2, "declared": 4}, "confirm it in every patch (4 of 6 by metadata alone)"),
        ({"declared": 4, "undecided": 2}, "**2 of 6 patches have an unconfirmed offset"),
        ({}, None),
    ],
)
def test_the_card_says_what_confirms_the_offset(facts: dict[str, object], verdicts: dict[str, int], words: str | None) -> None:
    assert facts["radiometry_verdicts"] == {"declared": 6}
    text = render({**facts, "radiometry_verdicts": verdicts}, Publish())["README.md"]
    told = [line for line in text.splitlines() if "in every patch" in line or "unconfirmed" in line]
    assert not told if words is None else words in told[0]


def test_words_of_the_documents() -> None:
    assert [number(None), number(-3.25, 1), number(10.0), number(0.5, 2)] == ["–", "−3.2", "10", "0.50"]
    assert interval({"value": 0.5, "low": 0.25, "high": 0.75}, 2) == "0.50 (0.25 – 0.75)"
    assert licence_address("CC-BY-SA-4.0") == "https://creativecommons.org/licenses/by-sa/4.0/"
    assert licence_address("ODbL-1.0") == "https://spdx.org/licenses/ODbL-1.0.html"
    about = Publish(authors=("A", "B"), doi="10.1/x", date="2026-05-01")
    assert cite({"title": "T", "version": "1.2.0"}, about) == "A, B (2026): T, version 1.2.0. doi:10.1/x"


def test_the_licence_names_its_sources(dataset: Path) -> None:
    text = (dataset / "LICENSE").read_text(encoding="utf-8")
    assert "SPDX-License-Identifier: CC-BY-SA-4.0" in text
    assert "Contains modified Copernicus Sentinel data 2016." in text
    assert "WorldDEM-30" in text


def test_the_catalogue_is_valid_and_whole(dataset: Path, results: Results) -> None:
    from pystac.extensions.classification import ClassificationExtension
    from pystac.extensions.file import FileExtension
    from pystac.extensions.projection import ProjectionExtension
    from pystac.extensions.sar import SarExtension
    from pystac.validation.stac_validator import JsonSchemaSTACValidator

    validator = JsonSchemaSTACValidator()
    path = dataset / "stac/collection.json"
    assert validator.validate_core(read_json(path), pystac.STACObjectType.COLLECTION, "1.1.0")
    collection = pystac.Collection.from_file(str(path))
    items = list(collection.get_items())
    index = read_index(dataset / "index.parquet").set_index("tile_id")
    with pytest.raises(pystac.errors.STACValidationError):
        validator.validate_core({**read_json(path), "license": 3}, pystac.STACObjectType.COLLECTION, "1.1.0")
    assert [item.id for item in items] == [f"GH_{tile}_2016" for tile in index.index]
    assert collection.extent.spatial.bboxes[0] == pytest.approx(index.geometry.to_crs("OGC:CRS84").total_bounds.tolist(), abs=1e-6)
    for item in items:
        row = index.loc[item.properties["tile_id"]]
        own = Path(item.get_self_href())
        assert validator.validate_core(read_json(own), pystac.STACObjectType.ITEM, "1.1.0")
        place = ProjectionExtension.ext(item)
        with rasterio.open((own.parent / item.assets["image"].href).resolve()) as image:
            assert list(image.transform)[:6] == place.transform
            assert list(image.bounds) == place.bbox == list(row.geometry.bounds)
            assert [band["name"] for band in item.assets["image"].extra_fields["bands"]] == list(image.descriptions)
            assert place.code == image.crs.to_string()
        assert FileExtension.ext(item.assets["mask"]).checksum == f"1220{row['mask_sha256']}"
        assert SarExtension.ext(item).polarizations == ["VV", "VH"]
        assert [one.value for one in ClassificationExtension.ext(item.assets["mask"]).classes or ()] == [0, 1, 255]
        assert item.properties["ml-aoi:split"] == {"train": "train", "val": "validate", "test": "test"}[row["split"]]
        assert item.properties["mining_percent"] == row["mining_percent"]
        assert item.assets["image"].extra_fields["bands"][0]["eo:common_name"] == "blue"
        ring = np.array(item.geometry["coordinates"][0])
        assert ((ring[1:, 0] - ring[:-1, 0]) * (ring[1:, 1] + ring[:-1, 1])).sum() < 0, "counter-clockwise"


def test_the_index_is_stac_geoparquet(dataset: Path) -> None:
    import rustac

    found = rustac.read_sync(str(dataset / "index.parquet"))
    assert len(found["features"]) == 6
    for feature in found["features"]:
        own = read_json(dataset / f"stac/2016/{feature['id']}.json")
        assert feature["assets"]["image"]["href"] == own["properties"]["image"]
        same = {"proj:transform", "proj:shape", "split", "mining_percent", "scenes", "year", "ml-aoi:split", "start_datetime"}
        assert {key: feature["properties"][key] for key in same} == {key: own["properties"][key] for key in same}
        assert feature["geometry"]["coordinates"] == own["geometry"]["coordinates"]


def test_every_column_of_the_index_is_explained_in_the_card(dataset: Path) -> None:
    assert set(pq.read_schema(dataset / "index.parquet").names) == set(COLUMNS) - set(RELEASED_COLUMNS)
    card = (dataset / "README.md").read_text(encoding="utf-8")
    lines = {name: f"| `{name}` | {column.kind} | {column.meaning} |" for name, column in COLUMNS.items()}
    assert {name for name, line in lines.items() if line not in card} == set(RELEASED_COLUMNS)


@pytest.fixture
def released(facts: dict[str, Any]) -> dict[str, Any]:
    """Facts of a dataset whose labels come from a release."""
    about = {"source": "hub", "address": "o/n/a.zip", "revision": "c" * 40, "sha256": "d" * 64, "license": "CC-BY-SA-4.0"}
    part = {"tiles": 1, "forest": 0.511, "mask": 0.522, "segments": 0.933}
    others = {"tiles": 5, "forest": 0.544, "mask": 0.855, "segments": 0.966}
    year = {"tiles_without_mask": 7, "masks_without_tile": 8, "held_out": part, "others": others}
    years = {
        name: {**values, "released": year, "provenance": {**values["provenance"], "released": 50.0}}
        for name, values in facts["years"].items()
    }
    return {**facts, "years": years, "released": about}


def test_documents_say_that_labels_come_from_a_release(released: dict[str, Any], dataset: Path, tmp_path: Path) -> None:
    texts = render(released, Publish())
    card = texts["README.md"]
    assert (
        f"**The labels come from a release**: o/n/a.zip on the Hugging Face Hub, revision {'c' * 40}, SHA-256 {'d' * 64} (CC-BY-SA-4.0)."
        in card
    )
    assert "**That the masks agree with the release proves nothing about their accuracy**; only the tiles held out" in card
    assert "| 2016 | 1 | 0.511 | 0.933 | 5 | 0.855 | 0.966 |" in card
    assert "| 2016 | 7 | 8 |" in card
    assert "| `share_released` | number |" in card
    assert "Masks after SmallMinesDS by S. Ofori-Ampofo et al. (CC-BY-SA-4.0): o/n/a.zip on the Hugging Face Hub" in texts["LICENSE"]
    assert "Labels are mostly those of released masks (o/n/a.zip" in texts["DATASHEET.md"]
    assert "2016: IoU of the forest with the release 0.511 in 1 tiles held out" in rai(released)["rai:dataAnnotationAnalysis"]
    write_json(tmp_path / "facts.json", released)
    write_page(page_sources(dataset, tmp_path, facts=tmp_path / "facts.json"), Publish(), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "That the masks agree with it proves nothing about their accuracy." in page
    assert "the forest alone has an IoU of 0.511 with it" in page


def test_no_agreement_is_claimed_where_nothing_is_held_out(released: dict[str, Any]) -> None:
    nothing = {"tiles": 0, "forest": None, "mask": None, "segments": None}
    for year in released["years"].values():
        year["released"] = {**year["released"], "held_out": nothing}
    assert "| 2016 | 0 | – | – | 5 | 0.855 | 0.966 |" in render(released, Publish())["README.md"]
    assert "IoU of the forest" not in rai(released)["rai:dataAnnotationAnalysis"]


def test_documents_of_pasted_masks_claim_no_forest(released: dict[str, Any]) -> None:
    for year in released["years"].values():
        year["released"] = {"tiles_without_mask": 7, "masks_without_tile": 8}
        year["unsupported_percent"] = 0.125
    texts = render(released, Publish())
    assert "nothing was segmented or predicted" in texts["README.md"]
    assert "held out" not in texts["README.md"]
    assert "| 2016 | 7 | 8 | 0.125 |" in texts["README.md"]
    assert "The masks of the release are placed on the grid by their georeference." in texts["DATASHEET.md"]
    assert rai(released)["rai:dataAnnotationProtocol"] == "The masks of a release, placed by their georeference."


def test_local_releases_are_named_without_their_folder() -> None:
    about = {"revision": None, "sha256": None, "license": "CC-BY-SA-4.0", "address": "SmallMinesDS"}
    assert release_name({**about, "source": "folder"}) == "the local folder SmallMinesDS"
    assert release_name({**about, "source": "zip", "sha256": "e"}) == "the local archive SmallMinesDS, SHA-256 e"


def test_the_code_in_the_card_loads_a_pair(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = (dataset / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0]
    monkeypatch.chdir(dataset)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["image"].shape == (13, *names["mask"].shape)
    assert (str(names["image"].dtype), str(names["mask"].dtype)) == ("float32", "uint8")


def test_the_croissant_is_accepted_and_its_records_read(dataset: Path, tmp_path: Path) -> None:
    import mlcroissant

    document = read_json(dataset / "croissant.json")
    document["datePublished"] = "2026-01-01"
    shutil.copytree(dataset, tmp_path / "dataset")
    (tmp_path / "dataset/croissant.json").write_text(json.dumps(document))
    known = mlcroissant.Dataset(tmp_path / "dataset/croissant.json")
    issues = known.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    records = pd.DataFrame(known.records("patches"))
    index = read_index(dataset / "index.parquet")
    assert records["patches/mining_percent"].to_numpy() == pytest.approx(index["mining_percent"].to_numpy())
    assert [word.decode() for word in records["patches/image"]] == index["image"].tolist()
    assert document["geocr:bandConfiguration"]["geocr:bandNameList"] == list(PATCH_BANDS)
    assert document["geocr:coordinateReferenceSystem"] == "EPSG:32630"


def test_hugging_face_reads_the_card_and_loads_the_index(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from huggingface_hub import DatasetCard

    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)  # the environment is read once, for all tests of a process
    card = DatasetCard.load(dataset / "README.md", ignore_metadata_errors=False)
    assert card.data.license == "cc-by-sa-4.0"
    assert card.data.pretty_name == "Made up"
    loaded = datasets.load_dataset(str(dataset), "index", cache_dir=str(tmp_path))["patches"]
    index = read_index(dataset / "index.parquet")
    assert loaded["mask_sha256"] == index["mask_sha256"].tolist()


def test_the_code_of_the_card_runs(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As somebody pastes it who stands in the downloaded folder."""
    monkeypatch.chdir(dataset)
    blocks = re.findall(r"```python\n(.*?)```", (dataset / "README.md").read_text("utf-8"), re.DOTALL)
    script = "\n".join([*blocks, "print(len(index), image.shape, mask.shape, len(patches), len(list(records)))"])
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=offline)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = len(read_index(dataset / "index.parquet"))
    assert len(blocks) == 2
    assert done.stdout.splitlines()[-1] == f"{rows} (13, 64, 64) (64, 64) {rows} {rows}"


def test_patches_are_cloud_optimised(dataset: Path) -> None:
    from rio_cogeo.cogeo import cog_validate

    for path in (dataset / "2016").rglob("*.tif"):
        assert cog_validate(path, quiet=True) == (True, [], [])


def test_the_seal_is_what_sha256sum_checks(dataset: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", "--strict", SUMS], cwd=dataset, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK") == len(list(published(dataset)))


def test_the_archive_has_the_same_bytes_twice_and_nothing_else(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy, copy_function=shutil.copyfile)
    (copy / ".hidden").write_text("x")
    for source, target in ((dataset, "a.zip"), (copy, "b.zip")):
        assert write_archive(source / SUMS, "made-up", tmp_path / target) == len(list(published(dataset))) + 1
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.read(f"made-up/{SUMS}") == (dataset / SUMS).read_bytes()
        assert {name.removeprefix("made-up/") for name in archive.namelist()} == {*published(dataset), SUMS}
    (copy / "LICENSE").write_text("another")
    with pytest.raises(UserError, match="LICENSE"):
        write_archive(copy / SUMS, "made-up", tmp_path / "c.zip")
    assert not list(tmp_path.glob("*c*.zip"))


def test_a_seal_that_lost_lines_is_refused_by_archive_and_report(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy, copy_function=shutil.copyfile)
    lines = (copy / SUMS).read_text().splitlines(keepends=True)
    (copy / SUMS).write_text("".join(lines[:-2]))
    lost = lines[-2].split()[1]
    with pytest.raises(UserError, match=f"2 not in the list, e.g. {lost}"):
        write_archive(copy / SUMS, "made-up", tmp_path / "c.zip")
    with pytest.raises(UserError, match=f"2 not in the list, e.g. {lost}"):
        write_page(page_sources(copy, tmp_path), Publish(), tmp_path / "a.html")


def test_documents_are_the_same_twice_and_stale_items_go(results: Results, tmp_path: Path) -> None:
    shutil.copytree(results.folder / "dataset", tmp_path / "dataset")
    dataset, windows = tmp_path / "dataset", {"2016": ["2016-01-01", "2016-01-31"]}
    before = (dataset / SUMS).read_bytes()
    (dataset / "stac/2016/GH_9999_2016.json").write_text("{}")
    lists = [dataset / "2016" / f"{kind}.sha256" for kind in ("IMAGE", "MASK")]
    document(dataset, lists, windows, "GH")
    assert (dataset / SUMS).read_bytes() == before
    assert not (dataset / "stac/2016/GH_9999_2016.json").exists()
    index = read_index(dataset / "index.parquet")
    index.loc[0, "split"] = "buffer"
    target = dataset / "stac/collection.json"
    write_catalogue(index, windows, "made-up", Publish(), read_json(dataset / "facts.json"), target)
    assert "ml-aoi:split" not in read_json(dataset / "stac/2016/GH_0001_2016.json")["properties"]


def page_sources(
    dataset: Path,
    folder: Path,
    findings: Sequence[object] = (),
    facts: Path | None = None,
    plots: Sequence[Path] = (),
    remarks: Sequence[object] = (),
) -> Sources:
    """What the report of the made-up dataset is made from, with one accuracy sample, one manifest and one forest."""
    counts = {"error": 0, "warning": len(findings), "note": 0}
    shift = {"kind": "mask", "assessable": True}
    known = {"counts": counts, "findings": list(findings), "shifts": [shift], "years": [2016], "label_auc": {"2016": 0.9}}
    write_json(folder / "doctor.json", known)
    rows = [("1/0", 900, 0, 0), ("1/0", 900, 0, 0), ("1/1", 100, 1, 1), ("1/1", 100, 1, 0), ("1/1", 100, 1, -1)]
    table = pd.DataFrame([(2016, *row) for row in rows], columns=["year", "stratum", "pixels", "mapped", "reference"])
    table.to_csv(folder / "points.csv", index=False)
    item = {"id": "S1A_x", "datatake": "S1A_1", "datetime": "2016-01-03T05:55:24Z", "platform": "SENTINEL-1A"}
    chosen = [{**item, "relative_orbit": 155, "orbit_state": "descending"}]
    dropped = [{"id": "S1A_empty", "reason": "no data on the cells of the area", "share": 0.254}]
    write_json(folder / "s1.json", {"sensor": "s1", "query": {"year": "2016"}, "chosen": chosen, "dropped": dropped})
    scores = {"at_class_shares_of_the_area": {"0.7": {"iou": 0.25, "f1": 0.4}, "0.5": {"iou": 0.2, "f1": 0.3}}}
    write_json(folder / "grid.json", {"remarks": list(remarks)} if remarks else {})
    write_json(folder / "metrics.json", {"threshold": 0.7, "out_of_fold": scores})
    return Sources(
        facts or dataset / "facts.json",
        folder / "doctor.json",
        dataset / SUMS,
        dataset / "index.parquet",
        folder / "points.csv",
        [folder / "s1.json"],
        [folder / "metrics.json"],
        plots,
        folder / "grid.json",
    )


def test_remarks_on_the_place_are_in_the_page(dataset: Path, tmp_path: Path) -> None:
    remark = {"expected": "<b>polygons</b>", "found": "2 points beside 1 polygon: left out", "do": "draw a polygon"}
    write_page(page_sources(dataset, tmp_path, remarks=[remark]), Publish(), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<b>2 points beside 1 polygon: left out.</b> Expected: &lt;b&gt;polygons&lt;/b&gt;. To correct it: draw a polygon." in text
    write_page(page_sources(dataset, tmp_path), Publish(attributions=("{x} of {years}",)), tmp_path / "b.html")
    text = (tmp_path / "b.html").read_text(encoding="utf-8")
    assert "beside 1 polygon" not in text
    assert "{x} of 2016" in text


def test_the_page_has_every_picture_and_number_in_it(dataset: Path, tmp_path: Path) -> None:
    pictures = []
    for name in (*FIGURES, "overview_2016"):
        if name != "overview":
            pictures.append(tmp_path / f"{name}.png")
            pictures[-1].write_bytes(f"\x89PNG {name}".encode())
    found = {"severity": "warning", "family": "coverage", "check": "cloud", "expected": "<20 %", "found": "more", "tiles": ["0001 2016"]}
    sources = page_sources(dataset, tmp_path, [{**found, "count": 1}], plots=pictures)
    for target in ("a.html", "b.html"):
        write_page(sources, Publish(authors=("A. B.",)), tmp_path / target)
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.html").read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == len(pictures)
    assert "expected &lt;20 %" in text
    assert sha256(dataset / SUMS)[:16] in text
    for words in (
        "<b>6</b>image–mask pairs",
        "155 descending",
        "<td>3 of 4</td>",
        "<td>5.00 (1)</td>",
        "from 0.25 to 0.25, median 0.25",
        "A. B.: Made up, version 1.0.0.",
        "Cohen's κ 0.81 (0.70 – 0.90)",
        "Overall accuracy 0.930",
    ):
        assert words in text


def test_findings_of_composites_state_their_year(tmp_path: Path) -> None:
    for name, content in (
        ("2016/1/s2.json", {"findings": ["Sentinel-2 of block 1 is clear on 12.0 % of the pixels only"]}),
        ("2022/2/s1.json", {"nodata_share": 0.0}),
        ("static/1/dem.json", {"findings": ["Elevation of block 1: 40 source pixels filled", "another"]}),
    ):
        write_json(tmp_path / name, content)
    paths = [tmp_path / name for name in ("2016/1/s2.json", "2022/2/s1.json", "static/1/dem.json")]
    assert composite_findings(paths) == [
        "2016: Sentinel-2 of block 1 is clear on 12.0 % of the pixels only",
        "Elevation of block 1: 40 source pixels filled",
        "another",
    ]


def test_findings_of_composites_and_doubtful_evidence_reach_who_has_only_the_folder(dataset: Path, tmp_path: Path) -> None:
    facts = read_facts(dataset / "facts.json")
    assert (facts["composite_findings"], facts["years"]["2016"]["doubtful_evidence"]) == ([], 0)
    assert list(stated_findings(facts)) == []
    assert "What the run found" not in render(facts, Publish())["README.md"]
    finding = "2016: Sentinel-2 of block 1 is clear on 12.0 % of the pixels only"
    facts["composite_findings"] = [finding]
    facts["years"]["2016"] |= {"doubtful_evidence": 3, "looks": {"bulk": 4, "single": 2}}
    card = render(facts, Publish())["README.md"]
    assert f"when it made them:\n\n- {finding}\n" in card
    assert "**2016: 3 decisions rest on evidence of a doubtful day**" in card
    assert "2016: decisions that stand, by how they were made: bulk 4, single 2." in card
    assert [(finding.severity, finding.check, finding.found) for finding in stated_findings(facts)] == [
        ("warning", "composites", finding),
        ("warning", "doubtful evidence", "3 decisions rest on evidence of a doubtful day"),
    ]
    write_json(tmp_path / "facts.json", facts)
    write_page(page_sources(dataset, tmp_path, facts=tmp_path / "facts.json"), Publish(), tmp_path / "a.html")
    assert finding in (tmp_path / "a.html").read_text(encoding="utf-8")
