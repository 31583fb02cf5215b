"""The section of the configuration about the documents of the published folder."""

from __future__ import annotations

import datetime as dt

from pydantic import Field

from smallmines.config.section import Section

CLASS_DEFINITION = (
    "Ground at the surface that artisanal or small-scale miners have opened and that is visible in the images: pits, heaps and "
    "fans of spoil and tailings, and the ponds between them, in use or left, as long as they are not overgrown. Polluted water and "
    "small vegetation inside a mine belong to it. Not mining: rivers and other water outside mines, also where it is turbid, sand "
    "winning, bare fields, roads, settlements, and what lies underground."
)
"""What counts as mining in SmallMinesDS, in words of this project after its paper."""


class Publish(Section):
    """Statements in the documents of the published folder. All numbers there are computed from its files."""

    title: str = Field("", description="Title of the dataset. Empty: the name of the run.")
    description: str = Field("", description="One or two sentences on the dataset. Empty: written from years, country and sensors.")
    authors: tuple[str, ...] = Field((), description="Authors, as they want to be cited.")
    contact: str = Field("", description="Contact for questions: a web page, or an address of an institution.")
    funding: str = Field("", description="Funding of the dataset.")
    version: str = Field("1.0.0", pattern=r"^\d+\.\d+\.\d+$", description="Version of the dataset.")
    date: dt.date | None = Field(None, description="Day of publication. Empty: not stated; no file depends on the day of the run.")
    license: str = Field("CC-BY-SA-4.0", pattern=r"^[A-Za-z0-9.+-]+$", description="Licence of the dataset, an SPDX identifier.")
    url: str | None = Field(None, pattern=r"^https?://", description="Address of the published dataset.")
    doi: str | None = Field(None, pattern=r"^10\.\S+/\S+$", description="DOI of the dataset, e.g. 10.5281/zenodo.1.")
    class_definition: str = Field(
        CLASS_DEFINITION,
        min_length=1,
        description="What counts as mining, as the annotators were told; card, datasheet and facts state it. The default is that of "
        "SmallMinesDS, for Ghana.",
    )
    attributions: tuple[str, ...] = Field(
        (
            "Contains modified Copernicus Sentinel data {years}.",
            "Elevation: produced using Copernicus WorldDEM-30 © DLR e.V. 2010-2014 and © Airbus Defence and Space GmbH 2014-2018, "
            "provided under COPERNICUS by the European Union and ESA; all rights reserved.",
        ),
        description="Attributions that the data sources require. `{years}` becomes the years of the run.",
    )
