"""What people's events say about the segments of today, whatever segmentation they were made on.

Each person's latest decision about a segment counts for that segment while it exists. Where the segmentation has changed,
decisions are painted as pixels, older below newer, and a new segment takes a label when enough of it is covered and
that label is pure enough. Then the people are held against each other: alike is a decision, differently is a dispute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.labels import footprint
from smallmines.labels.event_files import LABELS, RANKS, Event
from smallmines.settings.transfer import Transfer

if TYPE_CHECKING:
    import pandas as pd

Segments = NDArray[np.uint32]

FATES = ("kept", "superseded", "moved", "review", "lost")
"""What became of an event. kept: its segment is still there. superseded: the same person decided later about the segment. moved: new
segments took its label. review: it lies on segments that took no label. lost: no segment lies where it was, or it has no footprint."""


@dataclass(frozen=True)
class Settled:
    """What a block's events come to.

    Attributes:
        decisions: table `decisions`.
        lineage: one row per event: event, who, when, key, label, fate, segments (that took its label), share (of its pixels in them).
        review: segments that people must look at again: segment, why.
    """

    decisions: pd.DataFrame
    lineage: pd.DataFrame
    review: pd.DataFrame


def settle(
    events: Sequence[Event], features: pd.DataFrame, read_segments: Callable[[], Segments], geobox: GeoBox, settings: Transfer
) -> Settled:
    """Decisions, lineage and review list of a block; none depends on the order of `events`.

    Args:
        events: of one block and year.
        features: columns segment (1..n), key, area.
        read_segments: gives the label raster (row, column); asked only where a segment with events is gone.
        geobox: the raster's grid.
    """
    import pandas as pd

    events = sorted(set(events), key=lambda event: event.order)
    table = pd.DataFrame(
        {
            "layer": [event.annotator if RANKS[event.provenance] == 1 else event.provenance for event in events],
            "rank": np.array([RANKS[event.provenance] for event in events], np.int64),
            "key": np.array([event.key for event in events], np.uint64),
            "label": np.array([LABELS[event.label] for event in events], np.int8),
        }
    )
    table["event"] = np.arange(len(events))
    table["last"] = ~table.duplicated(["layer", "key"], keep="last")
    table = table.merge(features[["segment", "key"]], on="key", how="left").fillna({"segment": 0}).astype({"segment": np.int64})
    moved = table["last"] & (table["segment"] == 0) & np.array([bool(event.footprint) for event in events], bool)
    segments = read_segments() if moved.any() else None
    opinions, fates, unsettled = [], [], []
    for _, own in table[table["last"]].groupby("layer", sort=True):
        exact = own[own["segment"] > 0].assign(exact=True)
        if segments is None or not moved[own.index].any():
            opinions.append(exact)
            continue
        painted = _painted(own, events, segments, features, geobox, settings)
        opinions += [exact[~exact["segment"].isin(painted.taken["segment"])], painted.taken.assign(exact=False)]
        # a decision on exactly this segment stands unless later ones of the same person cover it
        opinions[-1]["exact"] = opinions[-1].set_index(["segment", "event"]).index.isin(exact.set_index(["segment", "event"]).index)
        fates.append(painted.fate)
        unsettled.append(painted.unsettled[~painted.unsettled["segment"].isin(exact["segment"])])
    said = pd.concat(opinions, ignore_index=True) if opinions else table.assign(exact=True)
    decided, disputed = _fused(said, events)
    again = pd.concat([disputed, *unsettled], ignore_index=True).sort_values(["segment", "why"])
    again = again[~again["segment"].isin(decided.loc[decided["label"] >= 0, "segment"])].drop_duplicates(ignore_index=True)
    return Settled(decided, _lineage(table, events, fates), again)


@dataclass(frozen=True)
class _Painted:
    taken: pd.DataFrame
    unsettled: pd.DataFrame
    fate: pd.DataFrame


def _painted(
    own: pd.DataFrame, events: Sequence[Event], segments: Segments, features: pd.DataFrame, geobox: GeoBox, settings: Transfer
) -> _Painted:
    """One person's decisions, in the order of time, as pixels on the segments of today."""
    import pandas as pd

    own = own.sort_values("event", ignore_index=True)
    runs = footprint.decode([events[number].footprint for number in own["event"]], geobox)
    pixel, place = runs.pixels(segments.shape)
    top = np.full(segments.size, -1, np.int32)
    np.maximum.at(top, pixel, place.astype(np.int32))  # the latest is on top
    seen = np.flatnonzero(top >= 0)
    place, segment = top[seen].astype(np.int64), segments.ravel()[seen].astype(np.int64)
    place, segment = place[segment > 0], segment[segment > 0]
    label = own["label"].to_numpy(np.int64)[place]
    pair, first, inverse, pixels = np.unique(segment * 4 + label + 1, return_index=True, return_inverse=True, return_counts=True)
    latest = np.full(len(pair), -1, np.int64)
    np.maximum.at(latest, inverse, place)
    counts = pd.DataFrame({"segment": segment[first], "label": label[first], "pixels": pixels, "place": latest})
    area = features["area"].to_numpy(np.int64)[counts["segment"].to_numpy() - 1]
    covered = counts.groupby("segment")["pixels"].transform("sum").to_numpy()
    counts = counts.assign(covered=covered / area, pure=pixels / covered).sort_values(["segment", "pixels", "place"])
    best = counts.drop_duplicates("segment", keep="last")
    takes = (best["covered"] >= settings.covered) & (best["pure"] >= settings.purity)
    taken = own.iloc[best.loc[takes, "place"]].assign(segment=best.loc[takes, "segment"].to_numpy())
    rest = best[~takes]
    why = [f"{share:.0%} of it decided before, {pure:.0%} of that alike" for share, pure in zip(rest["covered"], rest["pure"], strict=True)]
    # what became of each decision: the segments with its pixels that took its label
    landed = np.zeros(int(segment.max(initial=0)) + 1, np.int64) - 9
    landed[taken["segment"]] = taken["label"]
    good = landed[segment] == label
    size = len(own)
    kept, there = np.bincount(place[good], minlength=size), np.bincount(place, minlength=size)
    number = np.bincount(np.unique(np.stack([place[good], segment[good]]), axis=1)[0], minlength=size)
    total = np.bincount(runs.owner, runs.length, minlength=size)
    fate = own[["event"]].assign(
        fate=np.where(own["segment"] > 0, "kept", np.where(kept > 0, "moved", np.where(there > 0, "review", "lost"))),
        segments=np.where(own["segment"] > 0, 1, number),
        share=np.where(own["segment"] > 0, 1.0, kept / np.maximum(total, 1)).round(4),
    )
    return _Painted(taken, pd.DataFrame({"segment": rest["segment"].to_numpy(), "why": why}), fate)


def _fused(said: pd.DataFrame, events: Sequence[Event]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Table `decisions` from the opinions of several people about each segment, and the disputed segments."""
    import pandas as pd

    said = said.sort_values(["segment", "rank", "event"], ignore_index=True)
    said = said[said["rank"] == said.groupby("segment")["rank"].transform("max")]
    people = said.assign(who=np.array([events[number].annotator for number in said["event"]], object))
    each = people.groupby("segment", sort=True)
    last = people.drop_duplicates("segment", keep="last").set_index("segment").sort_index()
    disputed = (each["label"].min() != each["label"].max()).to_numpy() & (last["rank"] == RANKS["corrected"]).to_numpy()
    who = people[["segment", "who"]].drop_duplicates().sort_values(["segment", "who"]).groupby("segment")["who"].agg("|".join)
    chosen = [events[number] for number in last["event"]]
    provenance = np.where(
        disputed, "disputed", np.where(last["exact"].to_numpy(bool), [event.provenance for event in chosen], "transferred")
    )
    decided = pd.DataFrame(
        {
            "segment": last.index.to_numpy(np.uint32),
            "label": np.where(disputed, -1, last["label"]).astype(np.int8),
            "provenance": provenance.astype(object),
            "who": who.to_numpy(object),
            "when": np.array([event.time for event in chosen], object),
            "event": np.array([event.hash for event in chosen], object),
        }
    )
    words = {value: name for name, value in LABELS.items()}
    told = people[people["segment"].isin(decided.loc[disputed, "segment"])].sort_values(["segment", "who"])
    told = told.assign(why=[f"{who}: {words[label]}" for who, label in zip(told["who"], told["label"], strict=True)])
    return decided, told.astype({"why": object}).groupby("segment")["why"].agg("; ".join).reset_index().astype({"segment": np.int64})


def _lineage(table: pd.DataFrame, events: Sequence[Event], fates: Sequence[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    here = table["segment"] > 0
    fate = pd.DataFrame(
        {
            "event": [event.hash for event in events],
            "who": [event.annotator for event in events],
            "when": [event.time for event in events],
            "key": table["key"].to_numpy(),
            "label": [event.label for event in events],
            "fate": np.where(~table["last"], "superseded", np.where(here, "kept", "lost")),
            "segments": (here & table["last"]).astype(np.int64).to_numpy(),
            "share": (here & table["last"]).astype(float).to_numpy(),
        }
    )
    for known in fates:
        for column in ("fate", "segments", "share"):
            fate.loc[known["event"].to_numpy(), column] = known[column].to_numpy()
    return fate
