"""Runs in QGIS's own Python: opens layers with the styles beside them, prints what QGIS makes of them as JSON, and draws each.

Usage: look_at_map.py PICTURE_FOLDER LAYER…
"""

import json
import os
import sys
from pathlib import Path

os.environ["QT_QPA_PLATFORM"] = "offscreen"

from qgis.core import QgsApplication, QgsMapRendererParallelJob, QgsMapSettings, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def raster(layer: QgsRasterLayer) -> dict[str, object]:
    """Renderer and colours of a raster layer: value, label, colour and opacity of each class."""
    renderer = layer.renderer()
    if renderer.type() == "paletted":
        entries = [(entry.value, entry.label, entry.color) for entry in renderer.classes()]
    else:
        entries = [(item.value, item.label, item.color) for item in renderer.shader().rasterShaderFunction().colorRampItemList()]
    return {
        "valid": layer.isValid(),
        "renderer": renderer.type(),
        "classes": [[value, label, colour.name(), colour.alpha()] for value, label, colour in entries],
    }


def vector(layer: QgsVectorLayer) -> dict[str, object]:
    """Renderer, colours and tip of a vector layer: category, colour of the outline and its style."""
    categories = layer.renderer().categories() if layer.renderer().type() == "categorizedSymbol" else []
    outlines = [(category.value(), category.symbol().symbolLayer(0)) for category in categories]
    return {
        "valid": layer.isValid(),
        "features": layer.featureCount(),
        "renderer": layer.renderer().type(),
        "classes": [[value, outline.strokeColor().name(), int(outline.strokeStyle())] for value, outline in outlines],
        "tip": layer.mapTipTemplate(),
    }


def draw(layer: object, target: Path) -> None:
    """Render a layer as QGIS's canvas would."""
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setExtent(layer.extent())
    settings.setDestinationCrs(layer.crs())
    settings.setOutputSize(QSize(900, 900))
    settings.setBackgroundColor(QColor("white"))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(str(target))


def main() -> None:
    """See the module."""
    pictures, *paths = (Path(word) for word in sys.argv[1:])
    application = QgsApplication([], False)
    application.initQgis()
    layers = {}
    for path in paths:
        layer = QgsRasterLayer(str(path), path.stem) if path.suffix == ".tif" else QgsVectorLayer(str(path), path.stem, "ogr")
        layers[path.stem] = raster(layer) if path.suffix == ".tif" else vector(layer)
        draw(layer, pictures / f"{path.stem}.png")
    print(json.dumps(layers))
    sys.stdout.flush()
    os._exit(0)  # QGIS's own tear-down is slow and may crash without a display


main()
