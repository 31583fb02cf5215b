"""Transfer people's events to the present segmentation and find the decision in force for each segment.

Each person's latest decision about a segment counts for that segment while it exists; a decision that was withdrawn counts for
nothing. Where the segmentation has changed, decisions are painted as pixels, older below newer (a withdrawn one wipes its pixels), and
a new segment takes a label when enough of it is covered and enough of that has one label. Then the labels of different people are
compared: equal labels make a decision, different ones a dispute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from smallmines.labels import footprint
from smallmines.labels.event_files import LABELS, RANKS, WITHDRAWN, Event
from smallmines.settings.transfer import Transfer

if TYPE_CHECKING:
    import pandas as pd

Segments = NDArray[np.uint32]

FATES = ("kept", "superseded", "moved", "review", "lost", "withdrawn")
"""Fates of an event. kept: its segment still exists. superseded: the same person decided later about the segment. moved: new segments
took its label. review: it lies on segments that took no label. lost: no segment lies where it was, or it has no footprint.
withdrawn: it takes an earlier decision back and gives no label."""

NO_DECISION = -2
"""Number of the label `withdrawn`."""


@dataclass(frozen=True)
class Settled:
    """Result of the events of a block and year.

    Attributes:
        decisions: table `decisions`.
        lineage: one row per event: event, who, when, key, label, fate, segments (that took its label), share (of its pixels in them).
        review: segments that people must decide on again: segment, why.
    """

    decisions: pd.DataFrame
    lineage: pd.DataFrame
    review: pd.DataFrame


def decisions_in_force(
    events: Sequence[Event], features: pd.DataFrame, read_segments: Callable[[], Segments], geobox: GeoBox, settings: Transfer
) -> Settled:
    """Return the decisions in force of a block, their lineage and the review list; none depends on the order of `events`.

    Args:
        events: of one block and year.
        features: columns segment (1..n), key, area.
        read_segments: returns the label raster (row, column); called only where a segment with events no longer exists.
        geobox: the raster's grid.
    """
    import pandas as pd

    events = sorted(set(events), key=lambda event: event.order)
    table = pd.DataFrame(
        {
            "layer": [event.layer for event in events],
            "person": [event.annotator for event in events],
            "rank": np.array([RANKS[event.provenance] for event in events], np.int64),
            "key": np.array([event.key for event in events], np.uint64),
            "label": np.array([LABELS.get(event.label, NO_DECISION) for event in events], np.int8),
        }
    )
    table["event"] = np.arange(len(events))
    table["last"] = _last(table)
    table = table.merge(features[["segment", "key"]], on="key", how="left").fillna({"segment": 0}).astype({"segment": np.int64})
    gone = table["last"] & (table["segment"] == 0) & np.array([bool(event.footprint) for event in events], bool)
    segments = read_segments() if gone.any() else None
    opinions, fates, unsettled = [], [], []
    for _, layer in table[table["last"]].groupby("layer", sort=True):
        exact = layer[layer["segment"] > 0].assign(exact=True)
        if segments is None or not gone[layer.index].any():
            opinions.append(exact)
            continue
        painted = _labels_of_one_person(layer, events, segments, features, geobox, settings)
        opinions += [exact[~exact["segment"].isin(painted.taken["segment"])], painted.taken.assign(exact=False)]
        # a decision on exactly this segment stands unless later ones of the same person cover it
        opinions[-1]["exact"] = opinions[-1].set_index(["segment", "event"]).index.isin(exact.set_index(["segment", "event"]).index)
        fates.append(painted.fate)
        unsettled.append(painted.unsettled[~painted.unsettled["segment"].isin(exact["segment"])])
    labelled = pd.concat(opinions, ignore_index=True) if opinions else table.assign(exact=True)
    decided, disputed = _combine_people(labelled[labelled["label"] != NO_DECISION], events)
    review = pd.concat([disputed, *unsettled], ignore_index=True).sort_values(["segment", "why"])
    review = review[~review["segment"].isin(decided.loc[decided["label"] >= 0, "segment"])].drop_duplicates(ignore_index=True)
    return Settled(decided, _lineage(table, events, fates), review)


def _last(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which events count: of each person's latest about a segment the last of the layer; a withdrawal where no decision is left."""
    own = table[~table.duplicated(["layer", "person", "key"], keep="last")]
    ordered = own.assign(back=own["label"] == NO_DECISION).sort_values("back", ascending=False, kind="stable")  # withdrawals first
    return np.asarray(table.index.isin(ordered.drop_duplicates(["layer", "key"], keep="last").index), bool)


@dataclass(frozen=True)
class _Painted:
    """Decisions of one person on the present segments: labels that segments took, segments that took none, fate of each event."""

    taken: pd.DataFrame
    unsettled: pd.DataFrame
    fate: pd.DataFrame


def _labels_of_one_person(
    layer: pd.DataFrame, events: Sequence[Event], segments: Segments, features: pd.DataFrame, geobox: GeoBox, settings: Transfer
) -> _Painted:
    """Transfer one person's decisions to the present segments: paint them as pixels in the order of time, and label by share."""
    import pandas as pd

    layer = layer.sort_values("event", ignore_index=True)
    runs = footprint.decode([events[number].footprint for number in layer["event"]], geobox)
    pixel, place = runs.pixels(segments.shape)
    top = np.full(segments.size, -1, np.int32)
    np.maximum.at(top, pixel, place.astype(np.int32))  # the latest is on top
    painted = np.flatnonzero(top >= 0)
    place, segment = top[painted].astype(np.int64), segments.ravel()[painted].astype(np.int64)
    label = layer["label"].to_numpy(np.int64)[place]
    counting = (segment > 0) & (label != NO_DECISION)
    place, segment, label = place[counting], segment[counting], label[counting]
    pair, first, inverse, pixels = np.unique(segment * 4 + label + 1, return_index=True, return_inverse=True, return_counts=True)
    latest = np.full(len(pair), -1, np.int64)
    np.maximum.at(latest, inverse, place)
    counts = pd.DataFrame({"segment": segment[first], "label": label[first], "pixels": pixels, "place": latest})
    area = features["area"].to_numpy(np.int64)[counts["segment"].to_numpy() - 1]
    covered = counts.groupby("segment")["pixels"].transform("sum").to_numpy()
    counts = counts.assign(covered=covered / area, pure=pixels / covered).sort_values(["segment", "pixels", "place"])
    best = counts.drop_duplicates("segment", keep="last")
    takes = (best["covered"] >= settings.covered) & (best["pure"] >= settings.purity)
    taken = layer.iloc[best.loc[takes, "place"]].assign(segment=best.loc[takes, "segment"].to_numpy())
    rest = best[~takes]
    why = [f"{share:.0%} of it decided before, {pure:.0%} of that alike" for share, pure in zip(rest["covered"], rest["pure"], strict=True)]
    # the fate of each decision: the segments with its pixels that took its label
    label_taken = np.zeros(int(segment.max(initial=0)) + 1, np.int64) - 9
    label_taken[taken["segment"]] = taken["label"]
    good = label_taken[segment] == label
    size = len(layer)
    kept, present = np.bincount(place[good], minlength=size), np.bincount(place, minlength=size)
    number = np.bincount(np.unique(np.stack([place[good], segment[good]]), axis=1)[0], minlength=size)
    total = np.bincount(runs.owner, runs.length, minlength=size)
    exists = layer["segment"] > 0
    fate = layer[["event"]].assign(
        fate=np.where(exists, "kept", np.where(kept > 0, "moved", np.where(present > 0, "review", "lost"))),
        segments=np.where(exists, 1, number),
        share=np.where(exists, 1.0, kept / np.maximum(total, 1)).round(4),
    )
    return _Painted(taken, pd.DataFrame({"segment": rest["segment"].to_numpy(), "why": why}), fate)


def _combine_people(labelled: pd.DataFrame, events: Sequence[Event]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Combine the labels of several people: return the table `decisions`, one row per segment, and the disputed segments."""
    import pandas as pd

    labelled = labelled.sort_values(["segment", "rank", "event"], ignore_index=True)
    labelled = labelled[labelled["rank"] == labelled.groupby("segment")["rank"].transform("max")]
    people = labelled.assign(who=np.array([events[number].annotator for number in labelled["event"]], object))
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
    names = {value: name for name, value in LABELS.items()}
    review = people[people["segment"].isin(decided.loc[disputed, "segment"])].sort_values(["segment", "who"])
    review = review.assign(why=[f"{who}: {names[label]}" for who, label in zip(review["who"], review["label"], strict=True)])
    return decided, review.astype({"why": object}).groupby("segment")["why"].agg("; ".join).reset_index().astype({"segment": np.int64})


def _lineage(table: pd.DataFrame, events: Sequence[Event], fates: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return a row per event with its fate."""
    import pandas as pd

    exists = table["segment"] > 0
    fate = pd.DataFrame(
        {
            "event": [event.hash for event in events],
            "who": [event.annotator for event in events],
            "when": [event.time for event in events],
            "key": table["key"].to_numpy(),
            "label": [event.label for event in events],
            "fate": np.where(~table["last"], "superseded", np.where(exists, "kept", "lost")),
            "segments": (exists & table["last"]).astype(np.int64).to_numpy(),
            "share": (exists & table["last"]).astype(float).to_numpy(),
        }
    )
    for layer in fates:
        for column in ("fate", "segments", "share"):
            fate.loc[layer["event"].to_numpy(), column] = layer[column].to_numpy()
    back = ((table["label"] == NO_DECISION) & ~table.duplicated(["layer", "person", "key"], keep="last")).to_numpy()
    for column, value in (("fate", WITHDRAWN), ("segments", 0), ("share", 0.0)):
        fate[column] = fate[column].where(~back, value)
    return fate
