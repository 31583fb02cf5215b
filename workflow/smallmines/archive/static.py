"""Read a static STAC catalogue: follow its links from file to file, each once, and say which file is broken."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from smallmines.archive.providers import Provider
from smallmines.archive.signing import is_remote, local_path, text_of
from smallmines.core.errors import UserError

Document = dict[str, Any]

MEND = "correct or restore the file, or take its link out of the catalogue"


def read_items(address: str, provider: Provider) -> Iterator[tuple[str, Document]]:
    """Yield the items of the provider's collection in a static catalogue: address of the file, and its content.

    The address of a local file is absolute.

    Raises:
        UserError: a file is missing or broken, a link leads to something else, or there is no such collection.
    """
    root = address if is_remote(address) else os.path.abspath(local_path(address))
    catalogue = _document(root, provider)
    visited = {root}
    if catalogue.get("id") == provider.collection:
        waiting = [(root, catalogue)]
    else:
        children = [(place, _document(place, provider)) for place in _links(catalogue, root, "child")]
        waiting = [child for child in children if child[1].get("id") == provider.collection]
        if not waiting:
            names = ", ".join(str(child.get("id")) for _, child in children)
            raise UserError(f"a collection {provider.collection} in {address}", names or "no collections", "name it so in the catalogue")
    while waiting:
        place, document = waiting.pop()
        visited.add(place)
        for item in _links(document, place, "item"):
            if item not in visited:
                visited.add(item)
                yield item, _document(item, provider)
        for child in _links(document, place, "child"):
            if child not in visited:
                visited.add(child)
                waiting.append((child, _document(child, provider)))


def _document(place: str, provider: Provider) -> Document:
    """Read a JSON object.

    Raises:
        UserError: it cannot be read, or is no JSON object.
    """
    try:
        text = text_of(place, provider) if is_remote(place) else Path(place).read_text(encoding="utf-8")
        content = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        found = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(f"a file of a STAC catalogue, JSON, at {place}", found, MEND) from error
    if not isinstance(content, dict):
        raise UserError(f"a file of a STAC catalogue, a JSON object, at {place}", f"a {type(content).__name__}", MEND)
    return content


def _links(document: Document, place: str, relation: str) -> Iterator[str]:
    """Yield the addresses that a document links to with a relation.

    Raises:
        UserError: the links are no list of objects, or such a link has no address.
    """
    links = document.get("links") or []
    if not isinstance(links, list) or not all(isinstance(link, dict) for link in links):
        raise UserError(f"links, a list of objects, in {place}", f"{links!r}"[:200], MEND)
    for link in links:
        if link.get("rel") != relation:
            continue
        href = link.get("href")
        if not isinstance(href, str) or not href or "\0" in href:
            raise UserError(f"an address of each link `{relation}` in {place}", f"{href!r}", MEND)
        yield absolute(href, place)


def absolute(href: str, place: str | None) -> str:
    """Return the address or absolute path that an href in the file at `place` means; without a place, and `/vsi…` and VRT, as it is.

    `pystac` takes `#` and `?` in local paths for parts of an address, so it is not asked.
    """
    if place is None or not href or is_remote(href) or href.startswith(("/vsi", "<")):
        return href
    if is_remote(place):
        return urljoin(place, href)
    return os.path.normpath(os.path.join(os.path.dirname(place), local_path(href)))
