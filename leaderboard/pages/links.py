"""Names of the pages' files, so that every page can link to every other."""

import hashlib
import re
from functools import cache
from urllib.parse import quote

__all__ = ["CLAIMS", "INDEX", "claim_href", "method_page", "run_page", "track_page"]

INDEX = "index.html"
CLAIMS = "claims.html"


def track_page(name: str) -> str:
    """The file of a track's page."""
    return _page("track", name)


def method_page(name: str) -> str:
    """The file of a method's page."""
    return _page("method", name)


def run_page(run_id: str) -> str:
    """The file of a run's page."""
    return _page("run", run_id)


def claim_href(name: str) -> str:
    """Where a claim stands."""
    return f"{CLAIMS}#{quote(name)}"


@cache
def _page(kind: str, name: str) -> str:
    """A file name that every system takes and no URL needs to escape, one a name."""
    safe = re.sub(r"[^a-z0-9._-]", "-", name)[:100]
    suffix = "" if safe == name else f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return f"{kind}-{safe}{suffix}.html"
