"""Runs in QGIS's own Python: opens a working copy and its project, prints what QGIS makes of them as JSON, and draws two pictures.

Usage: look.py COPY.gpkg PROJECT.qgs PICTURE_FOLDER
"""

import json
import os
import sys
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from qgis.core import (
    QgsApplication,
    QgsExpression,
    QgsExpressionContext,
    QgsExpressionContextUtils,
    QgsFieldConstraints,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProject,
    QgsVectorLayer,
    QgsVectorLayerUtils,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def of(layer: QgsVectorLayer) -> dict[str, object]:
    """Renderer, form, defaults and constraints of a layer."""
    fields = layer.fields()
    names = [field.name() for field in fields]
    setup = {name: layer.editorWidgetSetup(at) for at, name in enumerate(names)}
    defaults = {name: layer.defaultValueDefinition(at) for at, name in enumerate(names)}
    form = layer.editFormConfig()
    categories = layer.renderer().categories() if layer.renderer().type() == "categorizedSymbol" else []
    drawn = {one.value(): one.symbol().symbolLayer(0) for one in categories}
    lists = {name: one.config()["map"] for name, one in setup.items() if one.type() == "ValueMap"}
    return {
        "valid": layer.isValid(),
        "features": layer.featureCount(),
        "fields": names,
        "renderer": layer.renderer().type(),
        "colours": {value: one.strokeColor().name() for value, one in drawn.items()},
        "filled": [one.brushStyle() != 0 for one in drawn.values()],
        "widgets": {name: one.type() for name, one in setup.items()},
        "maps": {name: [next(iter(row.values())) for row in rows] for name, rows in lists.items()},
        "read_only": [name for at, name in enumerate(names) if form.readOnly(at)],
        "on_update": {name: one.expression() for name, one in defaults.items() if one.applyOnUpdate()},
        "constraints": {name: layer.constraintExpression(at) for at, name in enumerate(names) if layer.constraintExpression(at)},
        "tip": layer.mapTipTemplate(),
        "index": layer.hasSpatialIndex() == 2,
    }


def edited(layer: QgsVectorLayer) -> dict[str, object]:
    """Label a segment as the form would, save, and look at the stamp and the constraint."""
    label = layer.fields().indexOf("label")
    feature = next(layer.getFeatures())
    other = "mining" if feature["prediction"] == "not_mining" else "not_mining"
    layer.startEditing()
    context = QgsExpressionContext(QgsExpressionContextUtils.globalProjectLayerScopes(layer))
    context.setFeature(feature)
    stamp = QgsExpression(layer.defaultValueDefinition(layer.fields().indexOf("edited")).expression()).evaluate(context)
    layer.changeAttributeValue(feature.id(), label, other)
    layer.changeAttributeValue(feature.id(), layer.fields().indexOf("edited"), stamp)
    lacking, _ = QgsVectorLayerUtils.validateAttribute(
        layer, layer.getFeature(feature.id()), label, QgsFieldConstraints.ConstraintStrengthSoft
    )
    layer.changeAttributeValue(feature.id(), layer.fields().indexOf("evidence"), "Google Earth")
    layer.changeAttributeValue(feature.id(), layer.fields().indexOf("evidence_date"), "2022-01-15")
    complete, _ = QgsVectorLayerUtils.validateAttribute(
        layer, layer.getFeature(feature.id()), label, QgsFieldConstraints.ConstraintStrengthSoft
    )
    tip = QgsExpression.replaceExpressionText(layer.mapTipTemplate(), context)
    saved = layer.commitChanges()
    return {
        "saved": saved,
        "tip": tip,
        "constraint": [lacking, complete],
        "stamp": stamp,
        "key": feature["key"],
        "label": other,
        "errors": layer.commitErrors(),
    }


def draw(layers: list[object], extent: object, crs: object, target: Path) -> None:
    """Render some layers as QGIS's canvas would."""
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setExtent(extent)
    settings.setDestinationCrs(crs)
    settings.setOutputSize(QSize(900, 900))
    settings.setBackgroundColor(QColor("white"))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(str(target))


def main() -> None:
    """See the module."""
    copy, project_path, pictures = (Path(word) for word in sys.argv[1:])
    application = QgsApplication([], False)
    application.initQgis()
    told = {name: of(QgsVectorLayer(f"{copy}|layername={name}", name, "ogr")) for name in ("segments", "tasks")}
    project = QgsProject.instance()
    told["read"] = project.read(str(project_path))
    layers = {layer.name(): layer for layer in project.mapLayers().values()}
    told["layers"] = {name: layer.isValid() for name, layer in layers.items()}
    told["project_segments"] = of(layers["segments"])
    told["themes"] = sorted(project.mapThemeCollection().mapThemes())
    told["crs"] = project.crs().authid()
    told["edit"] = edited(layers["segments"])
    task = next(layers["tasks"].getFeatures())
    extent = task.geometry().boundingBox().buffered(150)
    for theme in told["themes"]:
        draw(project.mapThemeCollection().mapThemeVisibleLayers(theme), extent, project.crs(), pictures / f"{theme.replace(' ', '_')}.png")
    print(json.dumps(told))
    sys.stdout.flush()
    os._exit(0)  # QGIS's own tear-down is slow and may crash without a display


main()
