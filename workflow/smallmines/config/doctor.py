"""Section `doctor` of the configuration: limits of the doctor's checks."""

from __future__ import annotations

from pydantic import Field

from smallmines.config.section import Section


class Doctor(Section):
    """From where on the doctor speaks; each limit with its reason (docs/doctor.md)."""

    no_offset_below: float = Field(
        800,
        description="DN. Least 0.1-percentile of the ten bands of a patch below this proves that the 1000 of baseline 04.00 is not in it: "
        "the darkest band of offset-free images has 3 to 330, and 584 in the mean over vegetation.",
    )
    offset_above: float = Field(900, description="DN. Where no patch is darker than this, the offset is taken to be in.")
    reflectance_below: float = Field(
        50, description="Median of the near infrared below this is no DN of land: reflectance from 0 to 1, or 0 to 10."
    )
    largest_db: float = Field(60, description="dB. No backscatter is beyond ± this; a wrapped nodata (55537) is.")
    saturated_share: float = Field(
        0.005, description="Share of a patch's pixels (and at least 64) at one greatest value of a band: natural maxima are single pixels."
    )
    saturated_dn: float = Field(20000, description="DN. Snow reaches 16000, clouds 20000; greater values are no reflectances.")
    stripe_dn: float = Field(
        60, description="DN. Lines that differ by this from the lines beside them; the ground makes 40 to 150, in both directions."
    )
    stripe_ratio: float = Field(
        2.2,
        description="So many times more in one direction than in the other: the ground makes 1.7 at most, roads and fields lie in both.",
    )
    gain: float = Field(0.25, description="Difference of gain between years on ground without mines; seasons and haze make up to 0.2.")
    level_dn: float = Field(
        500, description="DN. Difference of level between years there; half of the offset of 1000, and seasons make up to 300."
    )
    shift_px: float = Field(0.75, description="px. Sentinel-2 of one year against another: 0.3 px by its geometric refinement.")
    radar_shift_px: float = Field(
        2.5,
        description="px. Sentinel-1 on Sentinel-2: layover and shadows of trees move them by 1 to 1.7 px (two real images whose "
        "grids are right).",
    )
    mask_shift_px: float = Field(1.5, description="px. Edges of masks against edges of the image: segments follow them to a pixel.")
    dem_shift_px: float = Field(
        4, description="px. The elevation against light on slopes: a pixel of GLO-30 is 3 px, and slopes are smooth."
    )
    shift_significance: float = Field(
        8, description="Peak of the phase correlation over the scatter of its surface; by chance alone 4.5 is the greatest of 128² values."
    )
    shift_distinct: float = Field(1.5, description="That peak over the greatest value elsewhere: wrong peaks reach 1.4.")
    nodata_percent: float = Field(20, description="%. Patches with less data than this leave are told.")
    cloud_percent: float = Field(20, description="%. Bright, white pixels in a patch; roofs and tailings cover less.")
    class_share: float = Field(0.75, description="Share of mining on a year's ground from which 0 and 1 may be exchanged.")
    speck_px: int = Field(4, description="px. Smaller patches of mining or holes are specks: a segment has at least 5 px.")
    speck_share: float = Field(0.1, description="Share of a year's mining area in specks, or holes in it, that is told.")
    lost_share: float = Field(0.35, description="Share of an earlier year's mining that is none later: mines seldom vanish.")
    kappa: float = Field(0.4, description="Cohen's κ below which agreement is no more than fair (Landis & Koch 1977).")
    label_auc: float = Field(
        0.7, description="AUC of labels by a forest on pixels of other tiles, below which they do not follow the image."
    )
    contradicted_share: float = Field(
        0.6, description="Share of a patch's sampled pixels of a class that such a forest contradicts, from which the patch is told."
    )
    twins: float = Field(0, description="Share of test patches with their tile in train in another year; one year foretells the other.")
    location_r2: float = Field(
        0.35, description="R² of the class share by place and year alone; blocks of 7.7 km leave 0.14 at most, the release has 0.68."
    )
