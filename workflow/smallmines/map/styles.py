"""Styles for QGIS, which loads `<name>.qml` with a layer of the same name beside it.

The XML is written here, since the machine that runs the workflow need not have QGIS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from smallmines.core.files import written
from smallmines.core.product import CLASSES
from smallmines.dataset.change import CLASSES as CHANGE_CLASSES
from smallmines.dataset.change import COLOURS as CHANGE_COLOURS
from smallmines.map.mosaics import MASK_COLOURS, PROVENANCE_CODES, PROVENANCE_COLOURS

DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"

RAMP = {0: "#ffffb2", 10: "#fecc5c", 25: "#fd8d3c", 50: "#f03b20", 100: "#bd0026"}
"""Colours of the probability by percent; 0 is transparent."""

SEEN, PREDICTED = "people decided", "predicted"
"""Mines by who decided most of their pixels."""

TIP = (
    'mine [% "mine" %], [% "year" %]: [% round("area_ha", 2) %] ha<br>probability [% round("probability", 2) %], '
    'seen by people [% round(100 * "seen_share") %] %<br>images [% "image_date_first" %] to [% "image_date_last" %]'
)
"""Text shown beside the pointer, HTML with expressions of QGIS."""


CHANGE_TIP = (
    'area [% "area" %]: [% "change" %] between [% "first" %] and [% "last" %], [% round("area_ha", 2) %] ha<br>'
    'images [% "before_from" %] to [% "before_to" %], then [% "after_from" %] to [% "after_to" %]'
)


def write_styles(paths: Iterable[str | Path]) -> None:
    """Write the styles of some layers, `<name>.qml`: mask, probability, provenance, mines, change, changes."""
    styles = {
        "mask": mask(),
        "probability": probability(),
        "provenance": provenance(),
        "mines": mines(),
        "change": change(),
        "changes": changes(),
    }
    for path in map(Path, paths):
        with written(path) as beside:
            beside.write_text(f'{DOCTYPE}<qgis version="3.22.0" styleCategories="AllStyleCategories">{styles[path.stem]}</qgis>\n', "utf-8")


def mask() -> str:
    """Return the style of the mask: mining in colour, all else transparent."""
    entries = [(value, name.replace("_", " "), _hex(MASK_COLOURS[value]), 255 * value) for value, name in enumerate(CLASSES)]
    return _palette(entries)


def provenance() -> str:
    """Return the style of the provenance: a colour each."""
    return _palette([(code, name, _hex(PROVENANCE_COLOURS[name]), 255) for name, code in PROVENANCE_CODES.items()])


def probability() -> str:
    """Return the style of the probability: yellow to red, transparent at 0 %."""
    items = "".join(
        f'<item value="{value}" color="{colour}" label="{value} %" alpha="{255 if value else 0}"/>' for value, colour in RAMP.items()
    )
    return (
        '<pipe><rasterrenderer type="singlebandpseudocolor" band="1" opacity="0.85" alphaBand="-1" classificationMin="0" '
        'classificationMax="100"><rasterTransparency/><rastershader><colorrampshader colorRampType="INTERPOLATED" classificationMode="1" '
        f'clip="0" minimumValue="0" maximumValue="100">{items}</colorrampshader></rastershader></rasterrenderer></pipe>'
    )


def change() -> str:
    """Return the style of the map of change: new, gone and stable mining in colour, all else transparent."""
    return _palette(
        [(value, name.replace("_", " "), _hex(CHANGE_COLOURS[value]), 255 if value else 0) for value, name in enumerate(CHANGE_CLASSES)]
    )


def mines() -> str:
    """Return the style of the polygons: a full outline where people decided most pixels, else a dotted one."""
    chosen = f"CASE WHEN \"seen_share\" >= 0.5 THEN '{SEEN}' ELSE '{PREDICTED}' END"
    return _polygons(chosen, {SEEN: (MASK_COLOURS[1], "solid"), PREDICTED: (MASK_COLOURS[1], "dot")}, TIP)


def changes() -> str:
    """Return the style of the areas of change: new and gone in their colours."""
    looks = {name: (CHANGE_COLOURS[CHANGE_CLASSES.index(name)], "solid") for name in ("new", "gone")}
    return _polygons('"change"', looks, CHANGE_TIP)


def _polygons(chosen: str, looks: Mapping[str, tuple[tuple[int, int, int, int], str]], tip: str) -> str:
    """Return a style of polygons in categories.

    Args:
        chosen: expression of QGIS that gives the name of the category.
        looks: colour and outline (`solid`, `dot`) by category.
        tip: text beside the pointer.
    """
    categories = "".join(f'<category symbol="{number}" value="{name}" label="{name}" render="true"/>' for number, name in enumerate(looks))
    symbols = "".join(
        f'<symbol type="fill" name="{number}" alpha="1"><layer enabled="1" pass="0" class="SimpleFill" locked="0">'
        f'<prop k="color" v="{red},{green},{blue},60"/><prop k="style" v="solid"/><prop k="outline_color" v="{red},{green},{blue},255"/>'
        f'<prop k="outline_style" v="{line}"/><prop k="outline_width" v="0.4"/><prop k="outline_width_unit" v="MM"/></layer></symbol>'
        for number, ((red, green, blue, _), line) in enumerate(looks.values())
    )
    return (
        f'<renderer-v2 type="categorizedSymbol" attr={quoteattr(chosen)} enableorderby="0" forceraster="0">'
        f"<categories>{categories}</categories><symbols>{symbols}</symbols></renderer-v2><mapTip>{escape(tip)}</mapTip><layerGeometryType>2</layerGeometryType>"
    )


def _palette(entries: Iterable[tuple[int, str, str, int]]) -> str:
    """Return a style of value, label, colour and opacity (0 to 255) of each entry."""
    listed = "".join(
        f'<paletteEntry value="{value}" label="{label}" color="{colour}" alpha="{alpha}"/>' for value, label, colour, alpha in entries
    )
    return (
        '<pipe><rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1"><rasterTransparency/>'
        f"<colorPalette>{listed}</colorPalette></rasterrenderer></pipe>"
    )


def _hex(colour: tuple[int, int, int, int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour[:3])
