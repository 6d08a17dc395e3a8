"""Hashes of JSON values: the one form in which specs, records and dense networks are hashed."""

import hashlib
import json
from typing import Any

__all__ = ["digest"]


def digest(value: Any) -> str:
    """SHA-256 over a JSON value, independent of the order of keys.

    Raises:
        ValueError: it holds a number that is not finite.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
