"""Section `doctor` of the configuration: limits of the doctor's checks."""

from __future__ import annotations

from pydantic import Field

from smallmines.config.section import Section
from smallmines.core.product import PROVES_NONE, SUGGESTS_OFFSET


class Doctor(Section):
    """Limits of the doctor's checks. Each description gives the check and the reason for the limit."""

    no_offset_below: float = Field(
        PROVES_NONE,
        description="DN. A patch has no offset of 1000 (baseline 04.00) where the lowest 0.1-percentile of its ten bands is below this. "
        "Without the offset, the darkest band of a patch has 3 to 330, and 584 on average over vegetation.",
    )
    offset_above: float = Field(
        SUGGESTS_OFFSET, description="DN. A patch counts as having the offset where that percentile is not below this."
    )
    reflectance_below: float = Field(
        50, description="DN. A lower median of B08 is no digital number of land, but reflectance from 0 to 1 or from 0 to 10."
    )
    largest_db: float = Field(60, description="dB. Backscatter lies within ± this; nodata wrapped around (55537) does not.")
    saturated_share: float = Field(
        0.005, description="Share of a patch's pixels, and at least 64, that have the maximum of a band: natural maxima are single pixels."
    )
    saturated_dn: float = Field(20000, description="DN. Larger values are no reflectances: snow reaches 16000, clouds 20000.")
    stripe_dn: float = Field(
        60,
        description="DN. Difference between a line and its neighbours, along the whole line, that may be a stripe. The ground causes "
        "110 at most, in both directions.",
    )
    stripe_ratio: float = Field(
        2.2,
        description="Ratio of that difference between rows and columns that makes it a stripe. The ground causes 1.7 at most, "
        "since roads and fields run in both directions.",
    )
    gain: float = Field(0.25, description="Difference of gain between years on ground without mines. Seasons and haze cause up to 0.2.")
    level_dn: float = Field(
        500, description="DN. Difference of level between years on that ground: half of the offset of 1000. Seasons cause up to 300."
    )
    shift_px: float = Field(0.75, description="px. Shift of Sentinel-2 between years. Its geometric refinement leaves 0.3 px.")
    radar_shift_px: float = Field(
        2.5,
        description="px. Shift of Sentinel-1 against Sentinel-2. Layover and shadows of trees cause 1 to 1.7 px (in two real images "
        "whose grids are right).",
    )
    mask_shift_px: float = Field(1.5, description="px. Shift of masks against the image. Segments follow edges of the image to a pixel.")
    dem_shift_px: float = Field(
        4, description="px. Shift of the elevation against the illumination of slopes. A pixel of GLO-30 is 3 px, and slopes are smooth."
    )
    shift_significance: float = Field(
        8,
        description="Peak of a phase correlation divided by the scatter of its surface, from which a shift is assessed. "
        "By chance, the maximum of 128² values is 4.5.",
    )
    shift_distinct: float = Field(
        1.5, description="Peak divided by the largest value elsewhere, from which a shift is assessed. Wrong peaks reach 1.4."
    )
    nodata_percent: float = Field(20, description="%. Nodata in a patch.")
    cloud_percent: float = Field(20, description="%. Bright white pixels in a patch. Roofs and tailings cover less.")
    class_share: float = Field(0.75, description="Share of mining in a year. With more, the classes 0 and 1 may be exchanged.")
    speck_px: int = Field(
        4, description="px. Connected areas of mining, and holes in them, of fewer pixels are specks: a segment has at least 5 px."
    )
    speck_share: float = Field(0.1, description="Share of the mining area of a year in specks or in holes.")
    lost_share: float = Field(
        0.35, description="Share of the mining of an earlier year that is not mining in a later one: mines seldom vanish."
    )
    kappa: float = Field(0.4, description="Cohen's κ between annotators. Lower values are fair agreement at most (Landis & Koch 1977).")
    label_auc: float = Field(
        0.7, description="AUC of a forest trained on pixels of other tiles. With less, the labels do not follow the image."
    )
    contradicted_share: float = Field(0.6, description="Share of the sampled pixels of a class in a patch that this forest contradicts.")
    twins: float = Field(0, description="Share of test patches whose tile is in train in another year: one year predicts the other.")
    location_r2: float = Field(
        0.35,
        description="R² of the class share predicted from place and year alone. Blocks of 7.7 km leave 0.14 at most, the release has 0.68.",
    )
