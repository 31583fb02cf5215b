"""Merging of datasets: ids, origins, pixels, tables of the whole, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio

from regions import SIZE, STATEMENT, finished, part_of, sealed
from smallmines.config.doctor import Doctor
from smallmines.config.publish import CLASS_DEFINITION
from smallmines.core.errors import UserError
from smallmines.core.files import read_json, sha256
from smallmines.core.readable import read_parquet
from smallmines.dataset.columns import columns_of
from smallmines.dataset.merge import Merged, merge
from smallmines.dataset.merge_checks import require_mergeable
from smallmines.dataset.merge_facts import common_definition
from smallmines.dataset.merge_parts import Part, read_parts
from smallmines.dataset.seal import SUMS, published
from smallmines.loaders.folder import read_pairs
from smallmines.settings.parameters import settings_of

WEST_OF_GREENWICH = {"crs": "EPSG:32629", "west": 700000.0}


@pytest.fixture(scope="module")
def east(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("east"), "east")


@pytest.fixture(scope="module")
def west(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished(tmp_path_factory.mktemp("west"), "west", "CI", **WEST_OF_GREENWICH)


@pytest.fixture(scope="module")
def merged(east: Path, west: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Merged]:
    target = tmp_path_factory.mktemp("merged") / "both"
    return target, merge([east, west], target, STATEMENT, threads=2)


def test_ids_of_the_first_part_stay_and_the_others_follow(merged: tuple[Path, Merged]) -> None:
    folder, result = merged
    index = read_parquet(folder / "index.parquet")
    assert index["tile_id"].tolist() == [f"{number:04d}" for number in range(1, 13)]
    assert index["origin_run"].tolist() == ["east"] * 6 + ["west"] * 6
    assert index["origin_tile_id"].tolist() == [f"{number:04d}" for number in range(1, 7)] * 2
    assert index["block"].tolist()[:3] == ["east-1", "east-1", "east-2"]
    assert index["origin_block"].tolist()[:3] == ["1", "1", "2"]
    assert index["id"].tolist()[0] == "GH_0001_2016"
    assert index["id"].tolist()[-1] == "CI_0012_2016"
    assert index["proj:code"].tolist() == ["EPSG:32630"] * 6 + ["EPSG:32629"] * 6
    assert index["released_id"].tolist() == [True] * 6 + [False] * 6
    assert result.files == {"linked": 12, "copied": 0, "rewritten": 12}
    assert result.facts["tile_ids"] == "renumbered"


def test_pixels_are_those_of_the_origin_and_tags_name_the_tile(merged: tuple[Path, Merged], east: Path, west: Path) -> None:
    index = read_parquet(merged[0] / "index.parquet")
    for row in index.to_dict("records"):
        part, country = (east, "GH") if row["origin_run"] == "east" else (west, "CI")
        for column, prefix in (("image", "IMG"), ("mask", "MASK")):
            kind = "IMAGE" if prefix == "IMG" else "MASK"
            origin = part / f"2016/{kind}/{prefix}_{country}_{row['origin_tile_id']}_2016.tif"
            with rasterio.open(merged[0] / row[column]) as here, rasterio.open(origin) as there:
                assert here.read().tobytes() == there.read().tobytes()
                assert (here.crs, here.transform, here.nodata, here.descriptions, here.units) == (
                    there.crs,
                    there.transform,
                    there.nodata,
                    there.descriptions,
                    there.units,
                )
                changed = {"TILE_ID", "ORIGIN_TILE_ID"}
                assert {key: value for key, value in here.tags().items() if key not in changed} == {
                    key: value for key, value in there.tags().items() if key not in changed
                }
                assert here.tags()["TILE_ID"] == row["tile_id"]
                assert here.tags().get("ORIGIN_TILE_ID", row["tile_id"]) == row["origin_tile_id"]
            assert (merged[0] / row[column]).samefile(origin) == (row["origin_run"] == "east")
            assert sha256(merged[0] / row[column]) == row[f"{column}_sha256"]


def test_rows_of_the_index_are_those_of_the_origin(merged: tuple[Path, Merged], east: Path, west: Path) -> None:
    index = read_parquet(merged[0] / "index.parquet")
    assert set(index) == set(columns_of(read_json(merged[0] / "facts.json")))
    same = ["mining_percent", "open_percent", "share_manual", "block_kappa", "split", "row", "col", "radiometry_verdict", "proj:bbox"]
    for part, name in ((east, "east"), (west, "west")):
        own = read_parquet(part / "index.parquet").sort_values("tile_id")
        for column in same:
            here, there = index.loc[index["origin_run"] == name, column], own[column]
            assert [str(value) for value in here] == [str(value) for value in there], column


def test_the_same_datasets_give_the_same_bytes(merged: tuple[Path, Merged], east: Path, west: Path, tmp_path: Path) -> None:
    merge([east, west], tmp_path / "again", STATEMENT)
    assert (tmp_path / "again" / SUMS).read_bytes() == (merged[0] / SUMS).read_bytes()
    names = [*published(merged[0])]
    assert names == [*published(tmp_path / "again")]
    assert all((merged[0] / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)


def test_the_seal_and_the_lists_name_every_file(merged: tuple[Path, Merged]) -> None:
    lines = (merged[0] / SUMS).read_text().splitlines()
    listed = {line[66:]: line[:64] for line in lines}
    assert set(listed) == set(published(merged[0]))
    assert all(sha256(merged[0] / name) == checksum for name, checksum in listed.items())
    assert sum(len(path.read_text().splitlines()) for path in merged[0].glob("*/*.sha256")) == 24
    assert not list(merged[0].parent.glob(".*")), "nothing is left beside it"


def test_items_have_crs_and_links_of_their_region(merged: tuple[Path, Merged]) -> None:
    item = read_json(merged[0] / "stac/2016/CI_0007_2016.json")
    assert item["properties"]["proj:code"] == "EPSG:32629"
    assert (item["properties"]["origin_run"], item["properties"]["origin_tile_id"]) == ("west", "0001")
    assert (merged[0] / "stac/2016" / item["assets"]["image"]["href"]).resolve().is_file()
    collection = read_json(merged[0] / "stac/collection.json")
    assert collection["summaries"]["proj:code"] == ["EPSG:32630", "EPSG:32629"]
    assert len([link for link in collection["links"] if link["rel"] == "item"]) == 12
    assert collection["id"] == "both"


def test_facts_are_of_the_whole_and_of_each_region(merged: tuple[Path, Merged], east: Path, west: Path) -> None:
    facts, parts = read_json(merged[0] / "facts.json"), [read_json(part / "facts.json") for part in (east, west)]
    assert (facts["tiles"], facts["patches"], facts["crs"]) == (12, 12, "EPSG:32630, EPSG:32629")
    assert facts["country"] == "GH and CI"
    assert facts["years"]["2016"]["mining_ha"] == pytest.approx(sum(part["years"]["2016"]["mining_ha"] for part in parts), abs=1e-3)
    assert facts["splits"] == {"test": 4, "train": 4, "val": 4}
    for band in ("B02", "VV", "DEM"):
        own = [part["bands"]["all"][band] for part in parts]
        assert facts["bands"]["all"][band]["count"] == sum(region["count"] for region in own)
        assert facts["bands"]["all"][band]["mean"] == pytest.approx(
            np.average([region["mean"] for region in own], weights=[region["count"] for region in own]), abs=1e-3
        )
    assert [region["seal"] for region in facts["regions"]] == [sha256(part / SUMS) for part in (east, west)]
    assert facts["regions"][1]["years"] == parts[1]["years"]
    assert facts["degrees"][0] == parts[1]["degrees"][0]
    assert facts["degrees"][2] == parts[0]["degrees"][2]
    card = (merged[0] / "README.md").read_text(encoding="utf-8")
    assert "| west | CI | EPSG:32629 | 6 | 2016 | 6 |" in card
    assert "IMG_<country>_<tile>_<year>.tif" in card
    assert "### east" in card
    assert facts["class_definition"] == CLASS_DEFINITION, "both parts state it"
    assert card.count("**What counts as mining.**") == 1
    assert "| `origin_tile_id` | text |" in card


def test_a_definition_is_that_of_the_whole_only_where_all_parts_state_it() -> None:
    def parts(*texts: str | None) -> list[Part]:
        facts = [{} if text is None else {"class_definition": text} for text in texts]
        return [part_of(number, [("0001", 0, "train")], facts=own) for number, own in enumerate(facts)]

    assert common_definition(parts("Pits.", "Pits.")) == "Pits."
    assert common_definition(parts("Pits.", "Ponds.")) == ""
    assert common_definition(parts("Pits.", None)) == ""


def test_the_doctor_finds_nothing_that_the_parts_do_not_have(merged: tuple[Path, Merged], east: Path, west: Path) -> None:
    from smallmines.doctor.examine import examine
    from smallmines.settings.doctor import Doctor as Limits

    limits = settings_of(Doctor(), Limits)
    of_parts = {(finding.family, finding.check) for part in (east, west) for finding in examine(part, limits).findings}
    findings = examine(merged[0], limits).findings
    assert {(finding.family, finding.check) for finding in findings} <= of_parts
    assert not [finding for finding in findings if finding.family in ("structure", "documents", "duplicates")]


def test_splits_are_kept_and_the_loader_pairs_them(merged: tuple[Path, Merged], west: Path) -> None:
    pairs = read_pairs(merged[0])
    assert len(pairs) == 12
    own = pd.read_csv(west / "splits.csv", dtype=str).sort_values("tile_id")["split"].tolist()
    assert pairs["split"].tolist()[6:] == own
    assert [Path(path).name for path in pairs["mask"]][-1] == "MASK_CI_0012_2016.tif"


def test_labels_are_pooled_by_area_and_kept_by_region(merged: tuple[Path, Merged], east: Path) -> None:
    labels = read_json(merged[0] / "labels.json")
    year = labels["years"]["2016"]
    assert (year["validated_share"], year["open_share"]) == (0.1, 0.02)
    assert year["provenance"]["manual"] == {"segments": 20, "area_share": 0.1}
    assert [pair["people"] for pair in year["agreement"]["year"]] == [["east A01", "east A02"], ["west A01", "west A02"]]
    assert set(year["agreement"]["blocks"]) == {"east-1", "east-2", "west-1", "west-2"}
    assert year["accuracy"] is None
    assert year["accuracy_lacks"] == "east: no sample; west: no sample"
    assert labels["regions"]["east"] == read_json(east / "labels.json")


def test_a_region_of_released_masks_and_one_of_people(east: Path, tmp_path: Path) -> None:
    pasted = finished(tmp_path / "pasted", "pasted", released=True, west=900000.0)
    merge([east, pasted], tmp_path / "both", STATEMENT)
    facts, index = read_json(tmp_path / "both/facts.json"), read_parquet(tmp_path / "both/index.parquet")
    assert set(index) == set(columns_of(facts))
    assert index.groupby("origin_run")["share_released"].mean().to_dict() == {"east": 0.0, "pasted": 1.0}
    assert index.loc[index["origin_run"] == "pasted", "block_kappa"].isna().all()
    assert index.loc[index["origin_run"] == "east", "unsupported_percent"].eq(0).all()
    sheet = (tmp_path / "both/DATASHEET.md").read_text(encoding="utf-8")
    assert "east: Mean-shift segments" in sheet
    assert "pasted: The masks of the release are placed" in sheet
    assert facts["regions"][1]["released"]["address"] == "release"
    with pytest.raises(UserError, match=r"CC-BY-SA-4\.0, under which east must be shared alike"):
        require_mergeable(read_parts([east, pasted]), "CC-BY-4.0")


def refusal(work: Callable[[], object]) -> str:
    with pytest.raises(UserError) as error:
        work()
    assert all((error.value.expected, error.value.found, error.value.do))
    return error.value.found


def test_what_is_no_finished_dataset_is_refused(east: Path, merged: tuple[Path, Merged], tmp_path: Path) -> None:
    assert "1" in refusal(lambda: read_parts([east]))
    assert "twice" in refusal(lambda: read_parts([east, east / "../dataset"]))
    assert "no index.parquet and 10 other files missing" in refusal(lambda: read_parts([east, tmp_path]))
    assert refusal(lambda: read_parts([east, merged[0]])) == "a merged dataset"


def test_a_broken_seal_is_refused(east: Path, west: Path, tmp_path: Path) -> None:
    shutil.copytree(west, tmp_path / "west")
    (tmp_path / "west/splits.csv").write_text((west / "splits.csv").read_text().replace("train", "test "))
    assert refusal(lambda: read_parts([east, tmp_path / "west"])) == f"1 with other content, e.g. {tmp_path}/west/splits.csv"
    (tmp_path / "west/splits.csv").unlink()
    assert "splits.csv" in refusal(lambda: read_parts([east, tmp_path / "west"]))


def test_tiles_of_the_same_ground_and_year_are_named(east: Path, tmp_path: Path) -> None:
    neighbour = finished(tmp_path / "n", "neighbour", west=600000 + 2 * SIZE)  # its columns 0 and 1 are the other's 2 and 3
    found = refusal(lambda: merge([east, neighbour], tmp_path / "both", STATEMENT))
    assert found == "2 that two datasets have: east 0003 and neighbour 0001 of 2016; east 0005 and neighbour 0004 of 2016"
    assert not (tmp_path / "both").exists()


def test_a_place_in_train_in_one_year_and_in_test_in_another_is_refused() -> None:
    first, second = part_of(0, [("0001", 0, "train")]), part_of(1, [("0001", 0, "test")], 2022)
    assert refusal(lambda: require_mergeable([first, second])) == (
        "1 whose years are in train and in val or test: r0 0001 of 2016 in train and r1 0001 of 2022 in test"
    )


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda part: replace(part, index=part.index.assign(radiometry="dn_harmonised")), "dn_plus1000 in r0; dn_harmonised in r1"),
        (lambda part: replace(part, facts={**part.facts, "resolution_m": 20.0}), "16 px of 10 m in r0; 16 px of 20 m in r1"),
        (lambda part: replace(part, licence="CC-BY-SA-4.0"), "CC-BY-4.0 of r0; CC-BY-SA-4.0 of r1"),
    ],
    ids=["radiometry", "resolution", "licence"],
)
def test_what_differs_is_named(change: Callable[[Part], Part], found: str) -> None:
    parts = [part_of(0, [("0001", 0, "train")]), change(part_of(1, [("0001", 5, "train")]))]
    assert refusal(lambda: require_mergeable(parts)) == found


def test_a_licence_that_is_shared_alike_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smallmines.dataset.merge_checks._require_form", lambda *_: None)
    free, alike = part_of(0, [("0001", 0, "train")]), part_of(1, [("0001", 5, "train")], licence="CC-BY-SA-4.0")
    assert require_mergeable([free, free_of(free)]) == "CC-BY-4.0"
    assert require_mergeable([free, free_of(free)], "CC0-1.0") == "CC0-1.0"
    assert require_mergeable([free, alike], "CC-BY-SA-4.0") == "CC-BY-SA-4.0"
    assert refusal(lambda: require_mergeable([free, alike], "CC-BY-4.0")) == "CC-BY-4.0"
    of_release = replace(free_of(free), facts={**free.facts, "released": {}})
    with pytest.raises(UserError, match=r"CC-BY-SA-4\.0, under which the released masks in r1 must be shared alike"):
        require_mergeable([free, of_release])


def free_of(part: Part) -> Part:
    """Return another region beside a part, under the same licence."""
    return part_of(1, [("0001", 7, "train")], licence=part.licence)


@pytest.mark.parametrize(
    ("kind", "profile", "found"), [("IMAGE", {"nodata": 0}, "nodata 0"), ("MASK", {"dtype": "int16"}, "types {'int16'}")]
)
def test_patches_of_another_form_are_refused(
    west: Path, east: Path, tmp_path: Path, kind: str, profile: dict[str, Any], found: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(west, other)
    path = sorted((other / f"2016/{kind}").glob("*.tif"))[0]
    rewrite(path, {}, **profile)
    reseal_patch(other, path)
    assert found in refusal(lambda: merge([east, other], tmp_path / "both", STATEMENT))


def test_masks_of_other_classes_are_refused(west: Path, east: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(west, other)
    for path in sorted((other / "2016/MASK").glob("*.tif")):
        rewrite(path, {"CLASSES": "0 water, 1 mining, 255 nodata"})
        reseal_patch(other, path)
    assert "0 water, 1 mining, 255 nodata in " in refusal(lambda: merge([east, other], tmp_path / "both", STATEMENT))


def rewrite(path: Path, tags: dict[str, str], **profile: Any) -> None:
    """Write a patch again with other tags or another profile."""
    with rasterio.open(path) as source:
        array, form, names, own = source.read(), source.profile, source.descriptions, source.tags()
    path.unlink()
    with rasterio.open(path, "w", **(form | profile)) as target:
        target.write(array)
        target.descriptions = names
        target.update_tags(**(own | tags))


def reseal_patch(dataset: Path, path: Path) -> None:
    """Put the checksum of a changed patch into list, index and seal."""
    import pyarrow.parquet as pq

    before = json.dumps(
        sorted(line for list_ in dataset.glob("*/*.sha256") for line in list_.read_text().splitlines() if path.name in line)
    )[2:66]
    for list_ in dataset.glob("*/*.sha256"):
        list_.write_text(list_.read_text().replace(before, sha256(path)))
    assert pq.read_schema(dataset / "index.parquet")
    sealed(dataset)


def test_a_folder_with_something_in_it_is_refused(east: Path, west: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").touch()
    assert refusal(lambda: merge([east, west], tmp_path / "full", STATEMENT)) == "a folder that is not empty"
    assert refusal(lambda: merge([east, west], east / "both", STATEMENT)) == f"it lies in {east}"
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_an_empty_folder_is_taken(east: Path, west: Path, merged: tuple[Path, Merged], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    merge([east, west], tmp_path / "empty", STATEMENT)
    assert sha256(tmp_path / "empty" / SUMS) == sha256(merged[0] / SUMS)


def test_a_merge_that_fails_leaves_nothing(east: Path, west: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("smallmines.dataset.merge.write_sums", full)
    with pytest.raises(OSError, match="No space left"):
        merge([east, west], tmp_path / "both", STATEMENT)
    assert list(tmp_path.iterdir()) == []


def test_where_no_links_can_be_files_are_copied(
    east: Path, west: Path, merged: tuple[Path, Merged], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("smallmines.core.files.os.link", refused)
    result = merge([east, west], tmp_path / "both", STATEMENT)
    assert result.files == {"linked": 0, "copied": 12, "rewritten": 12}
    assert sha256(tmp_path / "both" / SUMS) == sha256(merged[0] / SUMS)
