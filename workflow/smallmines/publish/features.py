"""Types of the columns of the shards, as the library `datasets` writes them into Parquet files and into the card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

PICTURES = ("thumbnail", "overlay")
"""Columns with PNG files, which `datasets` decodes to images of Pillow."""

FILES = ("image", "mask")
"""Columns with the bytes of the patches, GeoTIFF."""

LEFT_OUT = frozenset({"type", "stac_version", "stac_extensions", "links", "assets"})
"""Columns of the index that speak of the catalogue's files only."""

CHUNKING: Mapping[str, int] = {"min_chunk_size": 262_144, "max_chunk_size": 1_048_576, "norm_level": 0}
"""Pages end where the content says so, not at a fixed size: the Hub stores a patch that moves to another shard once. As `datasets` 5."""

Feature = dict[str, Any]


def shard_schema(index: pa.Schema) -> pa.Schema:
    """Return the schema of the shards from that of the index, with the types of `datasets` in its metadata, key `huggingface`.

    The id comes first, then the pictures, which the Hub's viewer shows, then the columns of the index but for `LEFT_OUT`, then the patches.
    Paths are in image_path and mask_path, since image and mask hold the files.
    """
    import pyarrow as pa

    picture = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    names = {name: path_name(name) for name in index.names if name not in LEFT_OUT}
    fields = [(new, _plain(index.field(name).type)) for name, new in names.items()]
    first = [field for field in fields if field[0] == "id"]
    others = [field for field in fields if field[0] != "id"]
    schema = pa.schema([*first, *((name, picture) for name in PICTURES), *others, *((name, pa.binary()) for name in FILES)])
    metadata = {"huggingface": json.dumps({"info": {"features": features_of(schema)}})}
    return schema.with_metadata(metadata)


def path_name(column: str) -> str:
    """Return the name of a column of the index in the shards."""
    return f"{column}_path" if column in FILES else column


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return a type without names of list items and large offsets, which readers give differently."""
    import pyarrow as pa

    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _plain(field.type)) for field in kind])
    return kind


def features_of(schema: pa.Schema) -> dict[str, Feature]:
    """Return the type of each column as `datasets.Features.to_dict` does."""
    return {field.name: {"_type": "Image"} if field.name in PICTURES else _feature(field.type) for field in schema}


def _feature(kind: pa.DataType) -> Feature:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    return {"dtype": {"float": "float32", "double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


def card_features(features: Mapping[str, Feature]) -> list[dict[str, Any]]:
    """Return the types as the YAML of a card has them, as `datasets.Features._to_yaml_list` does."""
    return [{"name": name, **_card_feature(feature)} for name, feature in features.items()]


def _card_feature(feature: Feature) -> dict[str, Any]:
    kind = feature.get("_type")
    if kind == "Image":
        return {"dtype": "image"}
    if kind == "Value":
        return {"dtype": feature["dtype"]}
    if kind == "List":
        inner = _card_feature(feature["feature"])
        return {"list": inner["dtype"] if list(inner) == ["dtype"] else inner.get("struct", inner)}
    return {"struct": card_features(feature)}


def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """Return options of `pyarrow.parquet.ParquetWriter`: patches and pictures, which are compressed, as they are; the rest with Snappy."""
    compression, dictionary, encoding = {}, [], {}
    for field in schema:
        stored = field.name in (*PICTURES, *FILES)
        for leaf in _leaves(field.name, field.type):
            compression[leaf] = "none" if stored else "snappy"
            if stored:
                encoding[leaf] = "PLAIN"
            else:
                dictionary.append(leaf)
    return {
        "compression": compression,
        "use_dictionary": dictionary,
        "column_encoding": encoding,
        "use_content_defined_chunking": dict(CHUNKING),
        "write_page_index": True,
    }


def _leaves(path: str, kind: pa.DataType) -> list[str]:
    """Return the paths of a column's leaves, as Parquet names them."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return [leaf for field in kind for leaf in _leaves(f"{path}.{field.name}", field.type)]
    if pa.types.is_list(kind):
        return _leaves(f"{path}.list.element", kind.value_type)
    return [path]
