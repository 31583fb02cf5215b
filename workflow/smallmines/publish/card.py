"""Write the card of the shards: YAML that `datasets` and the Hub read, and the card of the dataset with other words on loading."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smallmines.core.errors import UserError
from smallmines.core.files import read_json, remedy, written
from smallmines.core.product import BUFFER, PATCH_BANDS, SPLITS
from smallmines.dataset.columns import columns_of
from smallmines.publish.configurations import DEFAULT, SAMPLE, Configurations, sample_pattern
from smallmines.publish.features import FILES, Feature, card_features, path_name
from smallmines.publish.shards import Written, total

FIRST = ("Bands", "Sources", "Splits", "Labels", "Limits")
LAST = ("How to cite", "Licence")
"""Sections of the dataset's card that are kept, before and after the table of columns."""

WHAT: Mapping[str, str] = {
    DEFAULT: "the split in force, that of the dataset's `splits.csv`",
    "spatial_block": "blocks of tiles, sized by the correlogram of the class share",
    "paper_histogram": "the algorithm of the released SmallMinesDS: each year by itself, by bins of the class share; train and test",
    "histogram_tile": "tiles by chance within bins of the class share, all years together",
}
"""What each configuration is."""

MEANINGS: Mapping[str, tuple[str, str]] = {
    "thumbnail": ("picture", "B04, B03, B02 in natural colours with one stretch for all tiles; grey where there is no data (PNG)."),
    "overlay": ("picture", "The same with the outline of mines; hatched where the class is unknown (PNG)."),
    "image": ("bytes", "The image, GeoTIFF of 13 bands."),
    "mask": ("bytes", "The mask, GeoTIFF."),
    "geometry": ("bytes", "Outline of the patch in degrees (WGS 84), as WKB."),
    "image_path": ("text", "Path of the image in the dataset's folder."),
    "mask_path": ("text", "Path of the mask in the dataset's folder."),
}
"""Type and meaning of columns that the index does not have, or has in another form."""


def write_card(
    dataset: Path,
    made: Configurations,
    counts: Mapping[str, Written],
    sampled: Mapping[str, Written],
    features: Mapping[str, Feature],
    target: Path,
) -> None:
    """Write `README.md` of the shards.

    Args:
        dataset: folder of the dataset, with its card and `facts.json`.
        counts: what was written by folder, see `Configurations.folders`.
        sampled: what was written of the sample by split.
        features: as `features.features_of` returns them.

    Raises:
        UserError: the dataset's card cannot be read.
    """
    import jinja2
    import yaml

    front, introduction, sections = read_card(dataset / "README.md")
    front |= _front_matter(made, counts, sampled, features)
    facts = read_json(dataset / "facts.json")
    whole, sample = total(counts.values()), total(sampled.values())
    patches = sum((dataset / path).stat().st_size for path in _patches(dataset))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    words = {
        "introduction": introduction,
        "bands": PATCH_BANDS,
        "side": facts["tile_size"],
        "splits": SPLITS,
        "present": made.splits(DEFAULT),
        "configurations": _described(made, counts, sampled),
        "sample": SAMPLE if sampled else "",
        "megabytes": round(whole.disk / 1e6),
        "besides": max(0, round(100 * (whole.disk - patches) / whole.disk)),
        "sample_megabytes": round(sample.disk / 1e6),
        "sections": "\n".join(sections[name] for name in FIRST if name in sections),
        "columns": list(_columns(facts, features)),
        "closing": "\n".join(sections[name] for name in LAST if name in sections),
    }
    text = environment.get_template("README.md.j2").render(words).rstrip("\n") + "\n"
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)
    with written(target) as beside:
        beside.write_text(f"---\n{head}---\n{text}", encoding="utf-8")


def read_card(path: Path) -> tuple[dict[str, Any], str, dict[str, str]]:
    """Read a card: its YAML, the text before the first section, and the sections by their heading, heading included.

    Raises:
        UserError: it has no YAML at its head.
    """
    import yaml

    text = path.read_text(encoding="utf-8")
    match = re.match(r"---\n(.*?\n)---\n", text, re.DOTALL)
    if match is None:
        raise UserError(f"a card with YAML at its head in {path}", text[:40], remedy(path))
    introduction, *parts = re.split(r"^(?=## )", text[match.end() :], flags=re.MULTILINE)
    return yaml.safe_load(match[1]), introduction, {part.splitlines()[0].removeprefix("## "): part for part in parts}


def _patches(dataset: Path) -> list[str]:
    """Return the paths of the patches that the dataset's seal lists."""
    from smallmines.dataset.assemble import read_list
    from smallmines.dataset.seal import SUMS

    return [name for name in read_list(dataset / SUMS) if name.endswith(".tif")]


def _front_matter(
    made: Configurations, counts: Mapping[str, Written], sampled: Mapping[str, Written], features: Mapping[str, Feature]
) -> dict[str, Any]:
    """Return `configs` and `dataset_info` of the YAML, the default configuration first."""
    files: dict[str, dict[str, tuple[str, Written]]] = {
        name: {split: (made.pattern(name, split), _of_split(made, counts, name, split)) for split in made.splits(name)}
        for name in made.same_as
    }
    if sampled:  # a configuration without files cannot be read
        files[SAMPLE] = {split: (sample_pattern(split), count) for split, count in sampled.items()}
    configs = [
        {
            "config_name": name,
            **({"default": True} if name == DEFAULT else {}),
            "data_files": [{"split": split, "path": pattern} for split, (pattern, _) in splits.items()],
        }
        for name, splits in files.items()
    ]
    infos = []
    for name, splits in files.items():
        whole = total(count for _, count in splits.values())
        infos.append(
            {
                "config_name": name,
                "features": card_features(features),  # anew each time, since YAML would refer to one list by an anchor
                "splits": [{"name": split, "num_bytes": count.memory, "num_examples": count.rows} for split, (_, count) in splits.items()],
                "download_size": whole.disk,
                "dataset_size": whole.memory,
            }
        )
    return {"configs": configs, "dataset_info": infos}


def _of_split(made: Configurations, counts: Mapping[str, Written], configuration: str, split: str) -> Written:
    """Return what was written of a split of a configuration."""
    part = f"{made.same_as[configuration]}-{split}"
    return total(count for path, count in counts.items() if part in path.split("/"))


def _described(made: Configurations, counts: Mapping[str, Written], sampled: Mapping[str, Written]) -> list[dict[str, Any]]:
    """Return name, rows by split, rows in no split, and what it is, of each configuration."""
    rows = []
    for name, level in made.same_as.items():
        what = WHAT[name] if level == name else f"{WHAT[name]}; here the same as `{level}`"
        by_split = {split: _of_split(made, counts, name, split).rows for split in SPLITS}
        rows.append({"name": name, "counts": by_split, "none": _of_split(made, counts, name, BUFFER).rows, "what": what})
    if not sampled:
        return rows
    tiles = total(sampled.values()).rows
    of_sample = {split: sampled[split].rows if split in sampled else 0 for split in SPLITS}
    what = f"a few tiles in all their years, from all strata of the class share: {tiles} rows with the splits of `{DEFAULT}`"
    return [*rows, {"name": SAMPLE, "counts": of_sample, "none": 0, "what": what}]


def _columns(facts: Mapping[str, Any], features: Sequence[str] | Mapping[str, Feature]) -> list[tuple[str, str, str]]:
    """Return name, type and meaning of each column of the shards."""
    of_index = {path_name(name): (column.kind, column.meaning) for name, column in columns_of(facts).items() if name not in FILES}
    return [(name, *{**of_index, **MEANINGS}.get(name, ("", ""))) for name in features]
