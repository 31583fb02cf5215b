"""The masks of a release from the Hub on loopback: bytes asked for, pins, interruptions, faults, tokens, refusals."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hub_service import FILE, REPOSITORY, TOKEN, Hub, serving

from release import YEARS, write_grid, write_mask, write_release, zipped
from smallmines.archive import hub as client
from smallmines.archive import release_download
from smallmines.archive.access import _ask_hub
from smallmines.archive.release_download import archive_from_hub
from smallmines.archive.release_images import read_images
from smallmines.archive.released import read_released
from smallmines.config.sections import Config
from smallmines.core.errors import UserError
from smallmines.core.files import sha256
from smallmines.core.layout import UserFolder
from smallmines.core.release import Release, read_release
from smallmines.settings.released import Released

pytestmark = pytest.mark.loopback

FIRST, SECOND = "1" * 40, "2" * 40
SETTINGS = Released(REPOSITORY, FILE, None, None, None)
USER = UserFolder(Path("resources/user/x"))


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of 12 masks and 2.4 MB of noise in place of images."""
    folder = tmp_path_factory.mktemp("release")
    return zipped(write_release(folder), folder / FILE, image_bytes=200_000)


@pytest.fixture
def hub(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.chdir(tmp_path)
    write_grid(tmp_path / "grid.json")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    client.library()
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with serving(Hub({FIRST: archive})) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


def read(settings: Released = SETTINGS, years: tuple[str, ...] = YEARS) -> Release:
    read_released(settings, years, USER.path, "grid.json", "release.json")
    return read_release("release.json")


def refused(settings: Released = SETTINGS) -> str:
    with pytest.raises(UserError) as error:
        read(settings)
    assert len(str(error.value).splitlines()) == 3
    return str(error.value)


def right(release: Release, archive: Path) -> bool:
    made = archive.parent / "SmallMinesDS"
    return len(release.masks) == 12 and all(
        Path(mask.path).read_bytes() == (made / str(mask.year) / "MASK" / mask.name).read_bytes() for mask in release.masks
    )


def test_only_the_masks_are_read_and_pinned(hub: Hub, archive: Path) -> None:
    release = read()
    assert (release.source, release.reading, release.address) == ("hub", "ranges", f"{REPOSITORY}/{FILE}")
    assert (release.revision, release.sha256, release.size) == (FIRST, sha256(archive), archive.stat().st_size)
    assert right(release, archive)
    assert hub.sent < 0.1 * archive.stat().st_size
    pins = json.loads(USER.released.read_text())
    assert {key: pins[key] for key in ("revision", "sha256", "size")} == {
        "revision": FIRST,
        "sha256": sha256(archive),
        "size": archive.stat().st_size,
    }
    assert len(pins["directory"]) == 64
    lines = USER.released_sums.read_text().splitlines()
    assert lines[0] == f"{sha256(release.masks[0].path)}  2016/MASK/MASK_GH_0001_2016.tif"
    folder = Path(release.masks[0].path).parents[2]
    assert subprocess.run(["sha256sum", "--check", "--quiet", USER.released_sums.resolve()], cwd=folder, check=False).returncode == 0


def test_a_second_run_asks_nothing_and_a_lost_mask_is_read_again(hub: Hub, archive: Path) -> None:
    release = read()
    hub.asked.clear()
    assert read() == release
    assert hub.asked == []
    Path(release.masks[0].path).write_bytes(b"damaged")
    Path(release.masks[5].path).unlink()
    assert read() == release
    assert right(release, archive)


def test_a_new_commit_changes_nothing_until_the_pin_is_changed(hub: Hub, archive: Path, tmp_path: Path) -> None:
    release = read()
    hub.commits[SECOND] = zipped(write_release(tmp_path, tiles=5), tmp_path / "other.zip")
    shutil.rmtree("resources/automatic")
    assert read() == release
    text = refused(replace(SETTINGS, revision=SECOND))
    assert f"released.revision {FIRST}" in text
    assert f"{SECOND} in the configuration" in text
    USER.released.unlink()
    assert "resources/user/x/released.sha256" in refused(replace(SETTINGS, revision=SECOND)), "the masks' own checksums still hold"


@pytest.mark.parametrize("name", ["revision", "sha256"])
def test_a_configured_value_that_the_hub_does_not_have_is_refused(hub: Hub, name: str) -> None:
    text = refused(replace(SETTINGS, **{name: ("3" * 40 if name == "revision" else "3" * 64)}))
    assert ("3" * 40) in text
    assert not USER.released.exists(), "nothing is pinned"


@pytest.mark.parametrize("name", ["sha256", "size", "directory", "mask"])
def test_any_difference_from_the_pins_is_refused(hub: Hub, name: str) -> None:
    release = read()
    shutil.rmtree("resources/automatic")
    pins = json.loads(USER.released.read_text())
    if name == "mask":
        other = USER.released_sums.read_text().replace(release.masks[0].sha256, "0" * 64)
        USER.released_sums.write_text(other)
    else:
        pins[name] = 7 if name == "size" else "0" * 64
        USER.released.write_text(json.dumps(pins))
    text = refused()
    assert "the release that the run is pinned to in resources/user/x/released.json" in text
    assert ("size 7" if name == "size" else "0" * 64) in text


@pytest.mark.parametrize(("name", "value"), [("size", 7), ("revision", SECOND), ("directory", "0" * 64), ("sums", None)])
def test_pins_that_change_while_the_masks_are_here_are_held_against_the_hub(hub: Hub, name: str, value: object) -> None:
    read()
    if name == "sums":
        USER.released_sums.write_text("".join(USER.released_sums.read_text().splitlines(keepends=True)[:-1]))
    else:
        USER.released.write_text(json.dumps({**json.loads(USER.released.read_text()), name: value}))
    text = refused()
    assert ("MASK_GH_0006_2022.tif with SHA-256 none" if name == "sums" else str(value)) in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", "7"),
        ("size", 0),
        ("size", None),
        ("sha256", 5),
        ("sha256", "../.."),
        ("revision", "main"),
        ("revision", None),
        ("directory", 3),
    ],
)
def test_pins_of_another_form_are_refused(hub: Hub, name: str, value: object) -> None:
    read()
    USER.released.write_text(json.dumps({**json.loads(USER.released.read_text()), name: value}))
    text = refused()
    assert "a pinned release in resources/user/x/released.json" in text
    assert f"{name} {json.dumps(value)}" in text


def test_a_token_that_is_none_is_refused_and_not_shown(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "tökén")
    text = refused()
    assert "HF_TOKEN" in text
    assert "tökén" not in text


def test_what_lies_in_released_path_is_held_against_the_pins(hub: Hub, archive: Path, tmp_path: Path) -> None:
    release = read()
    folder = str(Path(release.masks[0].path).parents[2])
    assert read(replace(SETTINGS, path=str(archive))).sha256 == release.sha256
    assert read(replace(SETTINGS, path=folder)).masks == release.masks
    other = write_release(tmp_path, tiles=6)
    write_mask(other / "2016/MASK/MASK_GH_0001_2016.tif", 0, 0, seed=99)
    assert "2016/MASK/MASK_GH_0001_2016.tif with SHA-256" in refused(replace(SETTINGS, path=str(other)))
    whole = zipped(other, tmp_path / "other.zip")
    assert f"sha256 {release.sha256}" in refused(replace(SETTINGS, path=str(whole)))
    USER.released.unlink()
    assert read(replace(SETTINGS, path=str(whole))).sha256 == sha256(whole)


def test_another_year_is_pinned_beside_those_pinned(hub: Hub) -> None:
    read(years=("2016",))
    first = USER.released_sums.read_text()
    read()
    assert USER.released_sums.read_text().startswith(first)
    assert len(USER.released_sums.read_text().splitlines()) == 12


def test_what_an_interrupted_run_read_is_not_read_again(hub: Hub, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_download, "LARGEST_GAP", -1)  # a request a mask
    hub.stop_after = 5
    assert "status 403" in refused()
    kept = len(list(Path("resources/automatic/released").rglob("MASK_*.tif")))
    assert kept == 4  # the first request is for the directory
    hub.stop_after = None
    hub.asked.clear()
    assert right(read(), archive)
    assert hub.contents() == 1 + 12 - kept


def test_faults_of_five_percent_change_nothing(hub: Hub, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_download, "LARGEST_GAP", -1)
    hub.fault_rate = 0.05
    for _ in range(3):
        assert right(read(), archive)
        shutil.rmtree("resources/automatic")
    assert sum(status == 503 for _, _, status in hub.asked) >= 2


def test_a_server_without_ranges_gives_the_whole_archive(hub: Hub, archive: Path) -> None:
    hub.ranges = False
    release = read()
    assert release.reading == "whole"
    assert right(release, archive)
    whole = Path("resources/automatic/released") / sha256(archive)[:16] / FILE
    assert sha256(whole) == sha256(archive)


def test_masks_in_many_places_make_the_whole_archive_cheaper(hub: Hub, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_download, "MOST_RANGES", 1)
    assert read().reading == "whole"
    hub.asked.clear()
    assert archive_from_hub(SETTINGS, USER)[0].is_file()
    assert hub.asked == [], "the whole archive is here"


def test_the_whole_archive_is_resumed(
    hub: Hub, archive: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)
    hub.cut_once = archive.stat().st_size // 2
    path, pins = archive_from_hub(SETTINGS, USER)
    assert sha256(path) == sha256(archive) == pins.sha256
    assert hub.sent < 1.2 * archive.stat().st_size
    assert not list(Path.home().glob(".cache/huggingface/**/datasets--ellaampy--SmallMinesDS"))
    assert [record.name for record in caplog.records if "Trying to resume download" in record.message] == ["smallmines"]
    assert "loopback-signature" not in caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("kept", [0.0, 0.4, 1.0])
def test_what_a_killed_process_downloaded_of_the_whole_archive_is_not_asked_for_again(hub: Hub, archive: Path, kept: float) -> None:
    content = archive.read_bytes()
    part = Path("resources/automatic/released") / sha256(archive)[:16] / f"{FILE}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content[: int(kept * len(content))])
    path, _ = archive_from_hub(SETTINGS, USER)
    assert path.read_bytes() == content
    assert not part.exists()
    assert hub.sent == pytest.approx((1 - kept) * len(content), abs=1000)


def test_a_part_that_is_longer_than_the_archive_is_dropped(hub: Hub, archive: Path) -> None:
    part = Path("resources/automatic/released") / sha256(archive)[:16] / f"{FILE}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(archive.read_bytes() + b"more")
    assert archive_from_hub(SETTINGS, USER)[0].read_bytes() == archive.read_bytes()


def test_a_whole_archive_that_was_changed_is_refused(hub: Hub) -> None:
    path, _ = archive_from_hub(SETTINGS, USER)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=f"delete {path} and run again"):
        archive_from_hub(SETTINGS, USER)


def test_a_truncated_archive_on_the_hub_is_refused(hub: Hub, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.zip").write_bytes(archive.read_bytes()[:-30_000])
    hub.commits[FIRST] = tmp_path / "cut.zip"
    assert f"a whole zip at {REPOSITORY}/{FILE}" in refused()


def test_unsafe_members_on_the_hub_are_refused(hub: Hub, tmp_path: Path) -> None:
    root = write_release(tmp_path)
    write_mask(root / "2022/MASK/MASK_GH_0009_2016.tif", 0, 3)
    hub.commits[FIRST] = zipped(root, tmp_path / "wrong.zip")
    assert "SmallMinesDS/2022/MASK/MASK_GH_0009_2016.tif" in refused()


def test_a_private_copy_needs_its_token(hub: Hub, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.access = "private"
    text = refused()
    assert "none, or a private one (no HF_TOKEN)" in text
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert right(read(), archive)
    assert hub.leaked == 0, "the token stays with the Hub"
    monkeypatch.setenv("HF_TOKEN", TOKEN + "x")
    shutil.rmtree("resources/automatic")
    text = refused()
    assert "HF_TOKEN is not accepted" in text
    assert TOKEN not in text


def test_a_gated_dataset_says_where_to_accept(hub: Hub) -> None:
    hub.access = "gated"
    text = refused()
    assert f"access to the gated dataset {REPOSITORY}" in text
    assert f"{hub.address}/datasets/{REPOSITORY}" in text
    assert "set HF_TOKEN" in text


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (replace(SETTINGS, repository="nobody/nothing"), "the dataset nobody/nothing at"),
        (replace(SETTINGS, file="Other.zip"), f"the file Other.zip in {REPOSITORY} at main"),
        (replace(SETTINGS, revision=SECOND), f"the revision {SECOND} of {REPOSITORY}"),
    ],
)
def test_what_the_hub_does_not_have_is_named(hub: Hub, settings: Released, expected: str) -> None:
    assert expected in refused(settings)


def test_images_are_read_for_a_comparison_only(hub: Hub, archive: Path) -> None:
    read()
    assert not list(Path("resources").rglob("IMG_*"))
    read_images(SETTINGS, YEARS, USER.path, "images.json")
    folder = Path("resources/automatic/released") / sha256(archive)[:16]
    assert json.loads(Path("images.json").read_text()) == {
        "folder": str(folder),
        "address": f"{REPOSITORY}/{FILE}",
        "revision": FIRST,
        "sha256": sha256(archive),
    }
    assert len(list(folder.glob("*/IMAGE/IMG_*.tif"))) == len(list(folder.glob("*/MASK/MASK_*.tif"))) == 12
    assert read().reading == "whole"


def test_access_asks_the_hub(hub: Hub) -> None:
    years = {"2016": {"start": "2016-01-01", "end": "2016-01-31"}}
    config = Config.model_validate({"run": "x", "years": years, "labels": {"source": "released_samples"}})
    assert f"{REPOSITORY}/{FILE} at revision {FIRST}, 2.4 MB" in _ask_hub(config)
    hub.access = "gated"
    with pytest.raises(UserError, match="gated"):
        _ask_hub(config)


@pytest.mark.heavy
@pytest.mark.parametrize("fault_rate", [0.0, 0.05])
def test_bytes_of_a_release_of_realistic_make_up(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault_rate: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """400 images of 852 KB and 400 masks: what ranges and the whole archive ask for, and an interrupted download that goes on."""
    cells = [(f"{number + 1:04d}", number // 20, number % 20) for number in range(200)]
    write_grid(tmp_path / "grid.json", cells, (10, 20))
    root = tmp_path / "large/SmallMinesDS"
    for year in YEARS:
        for tile, row, col in cells:
            write_mask(root / year / "MASK" / f"MASK_GH_{tile}_{year}.tif", col, row, int(tile))
    archive = hub.commits[FIRST] = zipped(root, tmp_path / "large.zip", image_bytes=852_000)
    hub.fault_rate = fault_rate
    if fault_rate:
        monkeypatch.setattr(release_download, "LARGEST_GAP", -1)  # a request a mask
    size = archive.stat().st_size
    release = read()
    assert (release.reading, len(release.masks)) == ("ranges", 400)
    ranges, requests = hub.sent, len(hub.asked)
    hub.sent, hub.cut_once = 0, size // 3
    assert sha256(archive_from_hub(SETTINGS, USER)[0]) == release.sha256
    with capsys.disabled():
        print(f"\nfaults {fault_rate:.0%}: zip {size} bytes; ranges {ranges} in {requests} requests; whole, interrupted once, {hub.sent}")
    assert ranges < 0.01 * size
    assert sum(status == 503 for _, _, status in hub.asked) == (0 if not fault_rate else pytest.approx(20, abs=10))
    assert hub.sent < 1.05 * size or fault_rate


def test_without_internet_the_local_way_is_named(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    assert "released.path" in refused()


@pytest.mark.parametrize("access", ["private", "gated", "gone"])
def test_no_password_of_a_mirror_is_shown(hub: Hub, monkeypatch: pytest.MonkeyPatch, access: str, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"http://me:secret-word@127.0.0.1:{9 if access == 'gone' else hub.port}")
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    hub.access = access
    text = refused()
    assert "http://127.0.0.1" in text
    assert "secret-word" not in text + caplog.text


def test_no_token_reaches_a_log(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: Path) -> None:
    """The job of the rule, with a token from the vendor's file, against a Hub that refuses it."""
    hub.access = "private"
    home = tmp_path / "home"
    home.mkdir()
    (home / "token").write_text(TOKEN + "x")
    code = (
        "from smallmines.core.job import job\nfrom smallmines.archive.released import read_released\n"
        "from smallmines.settings.released import Released\n"
        f"release = Released({REPOSITORY!r}, {FILE!r}, None, None, None)\n"
        "with job('log'): read_released(release, ['2016'], 'resources/user/x', 'grid.json', 'r')"
    )
    environment = {**hub.environment, "HF_HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(repository / "workflow")}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "HF_TOKEN is not accepted" in answer.stderr
    assert TOKEN not in answer.stderr + answer.stdout + Path("log").read_text()
    assert "Traceback" not in answer.stderr
