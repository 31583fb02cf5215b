"""Keys of the rule `doctor`: the limits of its checks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Doctor:
    """Keys of `doctor` that the rule `doctor` reads; config/README.md gives units and reasons."""

    no_offset_below: float
    offset_above: float
    reflectance_below: float
    largest_db: float
    saturated_share: float
    saturated_dn: float
    stripe_dn: float
    stripe_ratio: float
    gain: float
    level_dn: float
    shift_px: float
    radar_shift_px: float
    mask_shift_px: float
    dem_shift_px: float
    shift_significance: float
    shift_distinct: float
    nodata_percent: float
    cloud_percent: float
    class_share: float
    speck_px: int
    speck_share: float
    lost_share: float
    kappa: float
    label_auc: float
    contradicted_share: float
    twins: float
    location_r2: float
