"""The whole workflow through the services, as a user runs it."""

from __future__ import annotations

import os
import shutil

import pytest
import yaml
from services import Archives, Faults, serving
from through_archives import configured, planted, run, without_sources
from through_slurm import checksums

from workspace import Workspace

pytestmark = [pytest.mark.loopback, pytest.mark.heavy]


@pytest.fixture(scope="module")
def static(miniature: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A finished miniature, made from the static catalogue."""
    return miniature.clone(tmp_path_factory.mktemp("archives") / "clone")


def led_to(workspace: Workspace, archives: Archives, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in archives.environment.items():
        monkeypatch.setenv(name, value)
    configured(workspace, archives)


def test_services_that_stumble_give_the_static_dataset_and_keep_secrets(static: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    before = checksums(static.results / "dataset")
    with serving(static.folder / "resources/automatic/small/archive", Faults(rate=0.05, expire_after=60)) as archives:
        led_to(static, archives, monkeypatch)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        assert static.smallmines("access", "--config", static.config).count("works") == 3
        expected, output = run(static, archives)
        assert without_sources(expected) == without_sources(before)
        assert (
            "| Sentinel-2 L2A | 2016, 2022 | cdse | the source of the published dataset |"
            in (static.results / "dataset/README.md").read_text()
        )
        statuses = {status for _, _, status in archives.asked}
        assert {403, 429, 503} <= statuses
        static.snakemake("--report", "results/small/report.html")
        assert planted(static.folder, archives) == []
        assert "sig=" not in output

        # Frozen manifests: no catalogue is asked any more.
        assert "5 manifests kept" in static.smallmines("freeze", "--config", static.config)
        archives.asked.clear()
        shutil.rmtree(static.results / "manifests")
        static.snakemake("composites")
        assert [path for service, path, _ in archives.asked if service == "stac"] == []
        assert checksums(static.results / "dataset") == expected

        # Wrong keys: a message, an exit code, and what was there stays.
        archives.faults = Faults()
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret-4711")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another-key-4711")
        monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "1")
        for pixels in (static.folder / "resources/automatic/pixels").glob("*/B11-*.tif"):
            pixels.unlink()
        output = static.snakemake("--forcerun", "fetch", "--until", "fetch", succeeds=False)
        assert "access to S2" in output
        assert "s3keysmanager" in output
        assert "4711" not in output
        assert checksums(static.results / "dataset") == expected
        failed = static.smallmines("access", "--config", static.config, succeeds=False)
        assert "FAILS" in failed
        assert "4711" not in failed


def test_a_fallback_for_one_year_is_tagged_and_checked(static: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(static.folder / "resources/automatic/small/archive") as archives:
        led_to(static, archives, monkeypatch)
        path = static.folder / static.config
        values = yaml.safe_load(path.read_text())
        values["run"] = "oneyear"
        values["sentinel2"] |= {
            "fallbacks": ["planetary_computer"],
            "catalogue": {name: archives.catalogue(name) for name in ("cdse", "planetary_computer")},
        }
        kept = archives.collections["cdse"]["sentinel-2-l2a"]
        archives.collections["cdse"]["sentinel-2-l2a"] = [item for item in kept if item["properties"]["datetime"].startswith("2022")]
        (static.folder / "oneyear.yaml").write_text(yaml.safe_dump(values))
        shutil.copytree(static.user, static.user.parent / "oneyear", ignore=shutil.ignore_patterns("manifests"))
        other = Workspace(static.folder, "oneyear.yaml", "oneyear")
        other.snakemake("composites", "results/oneyear/compare_years/1.json")
    log = (static.folder / "logs/oneyear/search/2016-s2.log").read_text()
    assert "INSTEAD OF cdse. What differs: products of older processing baselines" in log
    shift = (other.results / "compare_years/1.json").read_text()
    assert '"planetary_computer"' in shift
    assert '"cdse"' in shift
