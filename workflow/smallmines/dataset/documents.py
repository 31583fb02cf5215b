"""Write the documents of the published folder from its facts: card, datasheet, licence, Croissant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smallmines.core.files import write_json, written
from smallmines.core.product import BANDS
from smallmines.dataset.columns import columns_of, masks_are_released
from smallmines.dataset.croissant import croissant
from smallmines.labels.tables import PROVENANCES
from smallmines.settings.publish import Documents, Page

TEMPLATES = {"README.md": "README.md.j2", "DATASHEET.md": "DATASHEET.md.j2", "LICENSE": "LICENSE.j2"}
DOCUMENTS = (*TEMPLATES, "croissant.json", "facts.json")
"""Names of the documents in the dataset's folder."""

SENSORS = {"s2": "Sentinel-2 L2A", "s1": "Sentinel-1 RTC", "dem": "Copernicus DEM GLO-30"}
"""Products by sensor, as the card names them."""

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def write_documents(facts: Mapping[str, Any], about: Documents, folder: str | Path) -> None:
    """Write `DOCUMENTS` into the dataset's folder, which must hold its tables: croissant.json states their checksums."""
    folder = Path(folder)
    for name, text in render(facts, about).items():
        with written(folder / name) as beside:
            beside.write_text(text, encoding="utf-8")
    write_json(folder / "facts.json", facts)
    write_json(folder / "croissant.json", croissant(facts, about, licence_address(about.license), cite(facts, about), folder))


def attributions(about: Page, facts: Mapping[str, Any]) -> list[str]:
    """Return the attributions of the data sources, with the years in the place of `{years}`; other braces stay as they are."""
    lines = [line.replace("{years}", " and ".join(facts["years"])) for line in about.attributions]
    released = facts.get("released")
    return (
        [*lines, f"Masks after SmallMinesDS by S. Ofori-Ampofo et al. ({released['license']}): {release_name(released)}."]
        if released
        else lines
    )


def class_definitions(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what counts as mining, one definition without a name, or each region of a merged dataset with its own.

    Datasets of earlier versions state none and give an empty list.
    """
    if text := facts.get("class_definition"):
        return [("", text)]
    return [(region["name"], region.get("class_definition") or "not stated") for region in facts.get("regions", ())]


def release_name(released: Mapping[str, Any]) -> str:
    """Return in words which release labels come from.

    Args:
        released: of `labels.json` or `facts.json`, see `released_agreement.add_released`.
    """
    name = {
        "hub": f"{released['address']} on the Hugging Face Hub, revision {released['revision']}",
        "zip": f"the local archive {released['address']}",
        "folder": f"the local folder {released['address']}",
    }[released["source"]]
    return f"{name}, SHA-256 {released['sha256']}" if released["sha256"] else name


def render(facts: Mapping[str, Any], about: Documents) -> dict[str, str]:
    """Return the text of each of `TEMPLATES` by name."""
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).with_name("templates"))
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    environment.filters |= {"num": number, "interval": interval, "sentence": sentence}
    regions = facts.get("regions", ())
    parts = [described(region, region["name"]) for region in regions] or [described(facts)]
    words = {
        "facts": facts,
        "about": about,
        "regions": regions,
        "country": "<country>" if len({region["country"] for region in regions}) > 1 else facts["country"],
        "bands": BANDS,
        "sensors": SENSORS,
        "columns": columns_of(facts),
        "labels": parts,
        "groups": alike(parts),
        "attributions": attributions(about, facts),
        "definitions": class_definitions(facts),
        "pasted": all(part["pasted"] for part in parts),
        "licence": licence_address(about.license),
        "cite": cite(facts, about),
        "size_category": next((word for limit, word in _SIZES if facts["patches"] < limit), "n>1M"),
    }
    return {name: environment.get_template(template).render(words).rstrip("\n") + "\n" for name, template in TEMPLATES.items()}


def described(facts: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """Return what the documents say about the labels of a dataset.

    Args:
        name: of a region of a merged dataset.
    """
    years = facts["years"]
    return {
        "name": name,
        "years": years,
        "provenances": [name for name in PROVENANCES if any(year["provenance"].get(name) for year in years.values())],
        "agreements": [(name, pair) for name, year in years.items() for pair in year["agreement"]],
        "accuracies": [(name, year["accuracy"]) for name, year in years.items() if year["accuracy"]],
        "release": release_name(facts["released"]) if "released" in facts else "",
        "license": facts["released"]["license"] if "released" in facts else "",
        "pasted": masks_are_released(years),
        "looked_at": max(year["validated_percent"] for year in years.values()),
    }


def alike(parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one of the parts for each way of making labels, with the names of all that were made so; no name where there is one way."""
    ways: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for part in parts:
        ways.setdefault((part["release"], part["pasted"], bool(part["looked_at"])), []).append(part)
    return [{**own[0], "name": ", ".join(part["name"] for part in own) if len(ways) > 1 else ""} for own in ways.values()]


def number(value: float | None, digits: int | None = None) -> str:
    """Format a number for the documents: true minus sign, `digits` decimals or as many as it has, a dash for None."""
    if value is None:
        return "–"
    text = f"{value:g}" if digits is None else f"{value:.{digits}f}"
    return text.replace("-", "−")


def interval(estimate: Mapping[str, float], digits: int) -> str:
    """Format an estimate with its interval, e.g. 0.93 (0.88 – 0.98)."""
    value, low, high = (number(estimate[key], digits) for key in ("value", "low", "high"))
    return f"{value} ({low} – {high})"


def sentence(text: str) -> str:
    """Return a text that begins with a capital letter and ends with a full stop; empty stays empty."""
    return f"{text[0].upper()}{text[1:]}." if text else ""


def licence_address(identifier: str) -> str:
    """Return the address of the text of an SPDX licence."""
    if not identifier.startswith("CC-BY"):
        return f"https://spdx.org/licenses/{identifier}.html"
    kind, _, version = identifier.lower().removeprefix("cc-").rpartition("-")
    return f"https://creativecommons.org/licenses/{kind}/{version}/"


def cite(facts: Mapping[str, Any], about: Page) -> str:
    """Return the citation of the dataset, one line."""
    authors = ", ".join(about.authors) or "Authors not stated"
    date = f" ({about.date.year})" if about.date else ""
    address = f" doi:{about.doi}" if about.doi else f" {about.url}" if about.url else ""
    return f"{authors}{date}: {facts['title']}, version {facts['version']}.{address}"
