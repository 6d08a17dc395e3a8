"""How W&B is used: online, offline or not at all, settled once and without importing wandb."""

import configparser
import netrc
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from bench.errors import UsageError

__all__ = ["MODES", "Mode", "choose_mode", "online_mode", "project_name"]

Mode = Literal["online", "offline", "off"]
MODES = ("auto", "online", "offline", "off")
_FROM_ENVIRONMENT: dict[str, Mode] = {
    "online": "online",
    "run": "online",
    "shared": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "off",
}


def choose_mode(asked: str, environment: Mapping[str, str]) -> Mode:
    """Settles the mode, once, before wandb is imported.

    Args:
        asked: `auto`, `online`, `offline` or `off`. `auto` takes `WANDB_MODE`, else the mode of wandb's
            settings file, else `online` when there is an API key (variable, netrc or settings file), else
            `offline`.
        environment: the environment variables.

    Raises:
        UsageError: `asked` or `WANDB_MODE` is no mode; the text lists the modes.
    """
    if asked not in MODES:
        raise UsageError(f"W&B mode {asked!r}: use {', '.join(MODES)}.")
    if asked != "auto":
        return asked  # type: ignore[return-value]
    settings = _wandb_settings(environment)
    wanted = environment.get("WANDB_MODE") or settings.get("mode")
    if wanted:
        if wanted not in _FROM_ENVIRONMENT:
            raise UsageError(f"WANDB_MODE is {wanted!r}: use online, offline or disabled, or give --wandb off.")
        return _FROM_ENVIRONMENT[wanted]
    return "online" if _has_key(environment, settings) else "offline"


def project_name(given: str | None, environment: Mapping[str, str]) -> str:
    """The W&B project: what was given, else `WANDB_PROJECT`, else `bench`."""
    return given or environment.get("WANDB_PROJECT") or "bench"


def online_mode(environment: Mapping[str, str]) -> Mode:
    """`online`, for what cannot be done otherwise.

    Raises:
        UsageError: there is no key, or W&B is set to offline or off; the text says what to do.
    """
    mode = choose_mode("auto", environment)
    if mode == "online":
        return mode
    wanted = environment.get("WANDB_MODE")
    action = f"Unset WANDB_MODE, which is {wanted!r}." if wanted else "`wandb login`, or set WANDB_API_KEY."
    raise UsageError(f"there is no W&B account to upload to. {action}")


def _wandb_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The user's wandb settings file, below the variables that overrule it; empty where there is none."""
    folder = environment.get("WANDB_CONFIG_DIR") or str(_home(environment) / ".config" / "wandb")
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(Path(folder).expanduser() / "settings", encoding="utf-8")
        return dict(parser.items("default"))
    except (configparser.Error, OSError, UnicodeDecodeError):
        return {}


def _has_key(environment: Mapping[str, str], settings: Mapping[str, str]) -> bool:
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_IDENTITY_TOKEN_FILE") or settings.get("api_key"):
        return True
    address = environment.get("WANDB_BASE_URL") or settings.get("base_url") or "https://api.wandb.ai"
    home = _home(environment)
    given = environment.get("NETRC")
    for path in [Path(given).expanduser()] if given else [home / ".netrc", home / "_netrc"]:
        try:
            entry = netrc.netrc(path).authenticators(urlsplit(address).netloc)
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
            continue
        if entry and entry[2]:
            return True
    return False


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or Path.home())
