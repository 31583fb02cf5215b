"""The demo through the archives' real clients and services on loopback, compared with the demo. `make demo-archives` runs this file.

Sentinel-2 comes from a Copernicus Data Space (STAC API, JP2 files in S3), Sentinel-1 from a Planetary Computer (signed blobs),
elevation from an Earth Engine. Then once more with 5 % of the requests refused or broken off and all tokens expiring in the middle.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / part) for part in ("workflow", "tests", "tests/loopback", "tests/cluster")]

from services import Archives, Faults, serving  # noqa: E402
from through_slurm import checksums, compare  # noqa: E402

from workspace import Workspace  # noqa: E402

PROVIDERS = {"sentinel2": "cdse", "sentinel1": "planetary_computer", "elevation": "earth_engine"}
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PC_SDK_SUBSCRIPTION_KEY", "CDSE_PASSWORD")
TOKENS = ("loopback-signature", "loopback-google-token", "loopback-bearer", "BEGIN PRIVATE KEY")


def configured(workspace: Workspace, archives: Archives) -> None:
    """Lead the run's config file to the services."""
    path = workspace.folder / workspace.config
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    for section, provider in PROVIDERS.items():
        values[section] = values[section] | {"provider": provider, "catalogue": archives.catalogue(provider)}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")


def planted(folder: Path, archives: Archives) -> list[str]:
    """Files of a run that hold a secret or a token; the services' own and the made archive are left out."""
    secrets = [archives.environment[name].encode() for name in SECRETS] + [token.encode() for token in TOKENS]
    kept = [path for path in folder.rglob("*") if path.is_file() and not path.is_relative_to(archives.root.parent)]
    return [str(path) for path in kept if any(secret in path.read_bytes() for secret in secrets)]


def without_sources(sums: dict[str, str]) -> dict[str, str]:
    """Leave out the documents that name the providers, and the list with their checksums."""
    return {name: checksum for name, checksum in sums.items() if name not in ("README.md", "facts.json", "SHA256SUMS")}


def run(workspace: Workspace, archives: Archives, *targets: str) -> tuple[dict[str, str], str]:
    """Make the targets from nothing but the services; checksums of the dataset, and what was printed."""
    for left in (workspace.results, workspace.folder / "resources/automatic/pixels", workspace.folder / ".snakemake"):
        shutil.rmtree(left, ignore_errors=True)
    archives.asked.clear()
    output = workspace.snakemake(*targets, "--set-threads", "assistant=1", "segment=1")
    return checksums(workspace.results / "dataset"), output


def told(archives: Archives) -> str:
    """Requests by service and status."""
    found = Counter((service, status) for service, _, status in archives.asked)
    return ", ".join(f"{service} {status}: {number}" for (service, status), number in sorted(found.items()))


def main() -> None:
    """Both runs, and what they were asked for."""
    folder, local = REPOSITORY / ".demo-archives", REPOSITORY / "results/demo/dataset"
    if not (local / "index.parquet").is_file():
        sys.exit("no results/demo/dataset to compare with: run make demo first")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    workspace = Workspace.make(REPOSITORY, folder, "config/demo.yaml", "demo")
    workspace.world("make", "--config", "config/demo.yaml", *sys.argv[1:])
    shutil.rmtree(workspace.user)
    shutil.copytree(REPOSITORY / "resources/user/demo", workspace.user)
    expected, good = without_sources(checksums(local)), True
    with serving(folder / "resources/automatic/demo/archive") as archives:
        os.environ.update(archives.environment)
        configured(workspace, archives)
        print(workspace.smallmines("access", "--config", workspace.config), flush=True)
        for name, faults in (("no faults", Faults()), ("5 % faults, tokens expire once", Faults(rate=0.05, expire_after=150))):
            archives.faults = faults
            print(f"running ({name}), about five minutes; progress: tail -f {folder}/.snakemake/log/*", flush=True)
            sums, output = run(workspace, archives)
            made = without_sources(sums)
            leaks = planted(folder, archives) + [secret for secret in TOKENS if secret in output]
            print(f"requests: {told(archives)}")
            print(f"results/demo/dataset and the one made through the services: {compare(expected, made)}")
            print(f"files with secrets: {len(leaks)} {leaks[:3] if leaks else ''}", flush=True)
            good &= made == expected and not leaks
    sys.exit(not good)


if __name__ == "__main__":
    main()
