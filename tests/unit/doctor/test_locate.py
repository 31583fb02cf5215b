"""Which dataset is meant, whatever folder around it is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fake_results import make_results, publish
from smallmines.cli.main import app
from smallmines.core.errors import UserError
from smallmines.doctor.folder import read_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = make_results(tmp_path_factory.mktemp("results") / "results/made", side=32)
    publish(results)
    return results.folder


def patches(folder: Path, *tiles: str, year: int = 2016) -> Path:
    for tile in tiles:
        for name in (f"IMAGE/IMG_GH_{tile}_{year}.tif", f"MASK/MASK_GH_{tile}_{year}.tif"):
            path = folder / str(year) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return folder


@pytest.mark.parametrize("above", [".", "..", "../.."])
def test_a_folder_above_one_dataset_stands_for_it(made: Path, above: str) -> None:
    assert (made / "patches/2016").is_dir(), "the same names lie there too"
    root = made / above
    folder = read_folder(root)
    assert folder.root.resolve() == (made / "dataset").resolve()
    assert (len(folder.pairs), folder.doubles, folder.strange) == (6, (), ())
    assert folder.part.endswith(f"dataset, the one dataset below {root}")
    assert folder.splits is not None


def test_the_dataset_itself_is_taken_as_it_is(made: Path) -> None:
    folder = read_folder(made / "dataset")
    assert (folder.root, folder.part) == (made / "dataset", "")


def test_several_datasets_are_listed(tmp_path: Path) -> None:
    for name in ("a/dataset", "b/dataset"):
        patches(tmp_path / name, "0001", "0002")
    with pytest.raises(UserError) as error:
        read_folder(tmp_path)
    assert error.value.found == f"2: {tmp_path}/a/dataset, {tmp_path}/b/dataset"
    for number in range(10):
        patches(tmp_path / f"c{number}", "0001")
    with pytest.raises(UserError, match=r"found     12: .* …\n"):
        read_folder(tmp_path)


def test_parts_of_one_dataset_in_several_folders_are_read_together(tmp_path: Path) -> None:
    patches(tmp_path / "train", "0001", "0002")
    patches(tmp_path / "test", "0003")
    folder = read_folder(tmp_path)
    assert (folder.root, folder.pairs["tile"].tolist(), folder.part) == (tmp_path, ["0001", "0002", "0003"], "")


def test_tables_make_a_folder_the_dataset_s(tmp_path: Path) -> None:
    patches(tmp_path / "SmallMinesDS", "0001")
    assert read_folder(tmp_path).root == tmp_path / "SmallMinesDS"
    (tmp_path / "train_test_splits_2016.csv").write_text("patch_name,split\nMASK_0001_2016.tif,train\n")
    folder = read_folder(tmp_path)
    assert (folder.root, folder.part) == (tmp_path, "")
    assert folder.splits is not None


def test_one_year_is_examined_alone_and_said_so(made: Path) -> None:
    folder = read_folder(made / "dataset/2016")
    assert len(folder.pairs) == 6
    assert folder.part == "the year 2016 of a dataset alone: its tables and documents lie in the folder above"


@pytest.mark.parametrize("kind", ["IMAGE", "MASK"])
def test_the_images_or_the_masks_alone_are_no_dataset(made: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made.parent)
    with pytest.raises(UserError) as error:
        read_folder(Path("made/dataset/2016") / kind)
    assert (error.value.found, error.value.do) == (f"the folder {kind} of 2016 alone", "name made/dataset")
    monkeypatch.chdir(made / "dataset/2016" / kind)
    with pytest.raises(UserError, match=r"do        name \.\./\.\."):
        read_folder(".")


def test_images_without_masks_elsewhere_are_read(tmp_path: Path) -> None:
    folder = patches(tmp_path / "x", "0001") / "2016"
    shutil.rmtree(folder / "MASK")
    assert len(read_folder(folder / "IMAGE").pairs) == 1


def test_empty_and_hidden_folders(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found     none"):
        read_folder(tmp_path)
    patches(tmp_path / ".hidden", "0001")
    with pytest.raises(UserError, match=r"found     none"):
        read_folder(tmp_path)


def test_the_verb_says_which_dataset_it_examines(made: Path) -> None:
    done = CliRunner().invoke(app, ["doctor", str(made), "--threads", "1"])
    text = " ".join(done.output.split())
    assert f"examining dataset, the one dataset below {made}" in text
    assert "note structure, folder: expected the folder of a dataset; found dataset, the one dataset below" in text
    assert "remove one of each" not in text
    assert "6 pairs:" in text


@pytest.mark.parametrize("content", [b"tile_id;year;split\n0001;2016;train\n", "tile_id,year,split\n0001,2016,train\n".encode("utf-16")])
def test_a_table_of_splits_that_cannot_be_read_is_an_error_and_not_no_split(tmp_path: Path, content: bytes) -> None:
    patches(tmp_path, "0001")
    (tmp_path / "splits.csv").write_bytes(content)
    folder = read_folder(tmp_path)
    assert folder.splits is None
    assert list(folder.unreadable) == ["splits.csv"]


def test_rows_that_are_no_splits_are_told(tmp_path: Path) -> None:
    patches(tmp_path, "0001")
    (tmp_path / "splits.csv").write_text("tile_id,year,split\n0001,2016,train\n0001,2016.0,test\n0001,,test\n0001,2016,Test\n")
    folder = read_folder(tmp_path)
    assert folder.splits is not None
    assert folder.splits.to_numpy().tolist() == [["0001", 2016, "train"], ["0001", 2016, "Test"]]
    assert folder.unreadable["the table of splits"].startswith("2 rows are no tile, year and split: 0001 2016.0 test")
