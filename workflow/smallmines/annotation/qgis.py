"""Write the style of a working copy's layers and a QGIS project that shows them over the images.

The XML is written here, since the machine that runs the workflow need not have QGIS; tests open both in QGIS.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

COLOURS = {"mining": "#e31a1c", "not_mining": "#33a02c", "unsure": "#ff7f00", "unseen": "#ffff33"}
"""Outlines of the segments by label."""

STATES = {"open": "#bbbbbb", "doing": "#ff7f00", "done": "#33a02c"}
"""Outlines of the tasks by status; `done` confirms the segments without a label."""

VALUES = {
    "label": {"mining": "mining", "not mining": "not_mining", "unsure": "unsure"},
    "confidence": {"sure": "sure", "likely": "likely", "a guess": "guess"},
    "status": {"open": "open", "doing": "doing", "done: the rest is right": "done"},
}
"""Entries of the lists in the form: text shown, value stored."""

DOCTYPE = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"

NOW = "epoch(now())"
"""Milliseconds since 1970 in UTC, whatever the computer's time zone."""


@dataclass(frozen=True)
class Image:
    """A raster layer of the project.

    Attributes:
        name: title of the layer.
        path: of the file.
        bands: three for red, green and blue, or one for grey; none for hillshade.
        limits: values shown black and full, per band.
    """

    name: str
    path: Path
    bands: tuple[int, ...] = ()
    limits: tuple[tuple[float, float], ...] = ()


def style(
    fields: Sequence[str], editable: Sequence[str], chosen: str, colours: Mapping[str, str], unset: str, tip: str, rule: str = ""
) -> str:
    """Return the style of a layer as XML elements, for `qml` and `write_project`.

    Args:
        fields: all fields, in order.
        editable: those that people fill in; the form shows the others read-only.
        chosen: field with the values of `colours`.
        unset: value of `colours` for an empty field.
        tip: map tip, HTML with expressions.
        rule: expression that an edit must fulfil, shown when it does not.
    """
    categories = "".join(f'<category symbol="{n}" value="{v}" label="{v.replace("_", " ")}" render="true"/>' for n, v in enumerate(colours))
    symbols = "".join(
        f'<symbol type="fill" name="{n}" alpha="1"><layer enabled="1" pass="0" class="SimpleFill" locked="0">'
        f'<prop k="style" v="no"/><prop k="outline_color" v="{_rgb(colour)}"/><prop k="outline_style" v="solid"/>'
        f'<prop k="outline_width" v="0.5"/><prop k="outline_width_unit" v="MM"/></layer></symbol>'
        for n, colour in enumerate(colours.values())
    )
    widgets = "".join(f'<field name="{name}">{_widget(name)}</field>' for name in fields)
    defaults = f'<default field="edited" expression="{NOW}" applyOnUpdate="1"/>'
    constraints = ""
    if rule:
        constraints = (
            f'<constraints><constraint field="{chosen}" constraints="4" exp_strength="2" notnull_strength="0" unique_strength="0"/>'
            "</constraints>"
            f'<constraintExpressions><constraint field="{chosen}" exp={quoteattr(rule)} '
            f'desc="a correction needs its evidence and the evidence\'s date"/></constraintExpressions>'
        )
    editability = "".join(f'<field name="{name}" editable="{int(name in editable)}"/>' for name in fields)
    return (
        f'<renderer-v2 type="categorizedSymbol" attr="coalesce(&quot;{chosen}&quot;, \'{unset}\')" enableorderby="0" forceraster="0">'
        f"<categories>{categories}</categories><symbols>{symbols}</symbols></renderer-v2>"
        f"<fieldConfiguration>{widgets}</fieldConfiguration><defaults>{defaults}</defaults>{constraints}"
        f"<editorlayout>generatedlayout</editorlayout><editable>{editability}</editable>"
        f"<mapTip>{escape(tip)}</mapTip><layerGeometryType>2</layerGeometryType>"
    )


def qml(look: str) -> str:
    """Return a style as the document that a GeoPackage's table `layer_styles` holds."""
    return f'{DOCTYPE}<qgis version="3.22.0" styleCategories="AllStyleCategories" readOnly="0">{look}</qgis>'


def _widget(name: str) -> str:
    if name in VALUES:
        rows = "".join(
            f'<Option type="Map"><Option type="QString" name={quoteattr(shown)} value={quoteattr(value)}/></Option>'
            for shown, value in VALUES[name].items()
        )
        kind, options = "ValueMap", f'<Option type="List" name="map">{rows}</Option>'
    elif name == "evidence_date":
        kind = "DateTime"
        options = "".join(
            f'<Option type="QString" name="{key}" value="yyyy-MM-dd"/>' for key in ("display_format", "field_format")
        ) + "".join(f'<Option type="bool" name="{key}" value="true"/>' for key in ("calendar_popup", "allow_null"))
    else:
        kind, options = "TextEdit", ""
    return f'<editWidget type="{kind}"><config><Option type="Map">{options}</Option></config></editWidget>'


def _rgb(colour: str) -> str:
    return ",".join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5)) + ",255"


def write_project(
    path: Path,
    data: Path,
    looks: Mapping[str, str],
    images: Sequence[Image],
    tiles: Mapping[str, str],
    crs: str,
    bounds: tuple[float, float, float, float],
) -> None:
    """Write a QGIS project beside a working copy: a map theme per image, the first four side by side; paths are relative.

    Args:
        path: `.qgs`.
        data: the GeoPackage.
        looks: style of each of its layers, by name, the uppermost first.
        images: layers below, in the order of the legend.
        tiles: further layers, name and XYZ address.
        crs: as `EPSG:32630`.
        bounds: of the first view: west, south, east, north.
    """
    folder = path.parent
    vectors = [_vector(name, look, f"./{os.path.relpath(data, folder)}|layername={name}", crs) for name, look in looks.items()]
    rasters = [_raster(f"image{n}", image, f"./{os.path.relpath(image.path, folder)}", crs) for n, image in enumerate(images)]
    online = [_online(f"online{n}", title, address) for n, (title, address) in enumerate(tiles.items())]
    layers = [*vectors, *rasters, *online]
    extent = "".join(f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), bounds, strict=True))
    canvas = f"<units>meters</units><extent>{extent}</extent><rotation>0</rotation><destinationsrs>{_crs(crs)}</destinationsrs>"
    docks, canvases = _views([image.name for image in images[1:4]], canvas)
    path.write_text(
        f'{DOCTYPE}<qgis version="3.22.0" projectname={quoteattr(data.stem)}><title>{escape(data.stem)}</title>'
        f"<projectCrs>{_crs(crs)}</projectCrs>"
        f"<layer-tree-group>{_legend(layers, shown=[*vectors, *rasters[:1]])}</layer-tree-group>"
        f'<mapcanvas name="theMapCanvas" annotationsVisible="1">{canvas}</mapcanvas><mapViewDocks>{docks}</mapViewDocks>{canvases}'
        f"<projectlayers>{''.join(layer.xml for layer in layers)}</projectlayers>"
        f"<visibility-presets>{_themes(vectors, [*rasters, *online])}</visibility-presets>"
        '<properties><SpatialRefSys><ProjectionsEnabled type="int">1</ProjectionsEnabled></SpatialRefSys>'
        '<Paths><Absolute type="bool">false</Absolute></Paths></properties></qgis>\n',
        encoding="utf-8",
    )


@dataclass(frozen=True)
class _Layer:
    """A layer of the project: its name in ids, its title in the legend, its element `maplayer`."""

    name: str
    title: str
    xml: str


def _vector(name: str, look: str, source: str, crs: str) -> _Layer:
    head = _head(name, name, source, "ogr", crs)
    return _Layer(name, name, f'<maplayer type="vector" geometry="Polygon" styleCategories="AllStyleCategories">{head}{look}</maplayer>')


def _raster(name: str, image: Image, source: str, crs: str) -> _Layer:
    head = _head(name, image.name, source, "gdal", crs)
    return _Layer(name, image.name, f'<maplayer type="raster">{head}<pipe>{_renderer(image)}</pipe></maplayer>')


def _online(name: str, title: str, address: str) -> _Layer:
    head = _head(name, title, f"type=xyz&url={address}&zmin=0&zmax=19", "wms", "EPSG:3857")
    renderer = '<rasterrenderer type="singlebandcolordata" band="1" opacity="1" alphaBand="-1"/>'
    return _Layer(name, title, f'<maplayer type="raster">{head}<pipe>{renderer}</pipe></maplayer>')


def _legend(layers: Sequence[_Layer], shown: Sequence[_Layer]) -> str:
    return "".join(
        f'<layer-tree-layer id="{_id(layer.name)}" name={quoteattr(layer.title)} expanded="0" '
        f'checked="Qt::{"Checked" if layer in shown else "Unchecked"}"/>'
        for layer in layers
    )


def _themes(vectors: Sequence[_Layer], images: Sequence[_Layer]) -> str:
    """Return a map theme per image, with all vector layers above it."""
    return "".join(
        f"<visibility-preset name={quoteattr(image.title)}>"
        + "".join(f'<layer id="{_id(layer.name)}" visible="1" expanded="0"/>' for layer in (*vectors, image))
        + "</visibility-preset>"
        for image in images
    )


def _views(themes: Sequence[str], canvas: str) -> tuple[str, str]:
    """Return the docks and the map canvases of further views, one per theme."""
    docks = "".join(
        f'<view name={quoteattr(theme)} area="2" floating="0" synced="1" scaleSynced="0" scaleFactor="1" showCursor="1" showExtent="0" '
        f'showLabels="1" zoomSelected="0" x="0" y="{300 * number}" width="450" height="300"/>'
        for number, theme in enumerate(themes)
    )
    canvases = "".join(
        f'<mapcanvas name={quoteattr(theme)} theme={quoteattr(theme)} annotationsVisible="1">{canvas}</mapcanvas>' for theme in themes
    )
    return docks, canvases


def _head(name: str, title: str, source: str, provider: str, crs: str) -> str:
    return (
        f"<id>{_id(name)}</id><datasource>{escape(source)}</datasource><layername>{escape(title)}</layername>"
        f"<srs>{_crs(crs)}</srs><provider>{provider}</provider>"
    )


def _id(name: str) -> str:
    """Return a layer's id; QGIS replaces short ids by its own."""
    return f"smallmines_working_copy_{name}"


def _crs(crs: str) -> str:
    from pyproj import CRS

    parsed = CRS.from_user_input(crs)
    geographic = "true" if parsed.is_geographic else "false"
    return (
        f"<spatialrefsys><wkt>{escape(parsed.to_wkt('WKT2_2019'))}</wkt><authid>{crs}</authid>"
        f"<description>{escape(parsed.name)}</description><geographicflag>{geographic}</geographicflag></spatialrefsys>"
    )


def _renderer(image: Image) -> str:
    if not image.bands:
        return (
            '<rasterrenderer type="hillshade" band="1" azimuth="315" angle="45" zfactor="2" multidirection="0" opacity="1" alphaBand="-1"/>'
        )
    names = ("red", "green", "blue") if len(image.bands) == 3 else ("gray",)
    kind = "multibandcolor" if len(image.bands) == 3 else "singlebandgray"
    bands = " ".join(f'{name}Band="{band}"' for name, band in zip(names, image.bands, strict=True))
    stretch = "".join(
        f"<{tag}><minValue>{low:g}</minValue><maxValue>{high:g}</maxValue><algorithm>StretchToMinimumMaximum</algorithm></{tag}>"
        for tag, (low, high) in zip(
            [f"{name}ContrastEnhancement" for name in names] if len(names) == 3 else ["contrastEnhancement"], image.limits, strict=True
        )
    )
    return f'<rasterrenderer type="{kind}" {bands} opacity="1" alphaBand="-1" gradient="BlackToWhite">{stretch}</rasterrenderer>'
