"""Where sovtui's files lie: configuration, state, themes. Reads the environment, opens nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ConfigPath:
    path: Path
    said: str
    """Who named it: `--config`, `$SOVTUI_CONFIG`, or empty for the usual place, which need not exist."""


def config_path(option: str | None = None, environment: Mapping[str, str] | None = None) -> ConfigPath:
    """The configuration file: `--config`, else `$SOVTUI_CONFIG`, else `$XDG_CONFIG_HOME/sovtui/config.toml`."""
    env = os.environ if environment is None else environment
    if option:
        return ConfigPath(Path(option).expanduser(), "--config")
    if env.get("SOVTUI_CONFIG"):
        return ConfigPath(Path(env["SOVTUI_CONFIG"]).expanduser(), "$SOVTUI_CONFIG")
    return ConfigPath(config_dir(env) / "config.toml", "")


def config_dir(environment: Mapping[str, str] | None = None) -> Path:
    return _xdg("XDG_CONFIG_HOME", ".config", environment) / "sovtui"


def state_dir(environment: Mapping[str, str] | None = None) -> Path:
    """For crash files and logs of the client. Not created here."""
    return _xdg("XDG_STATE_HOME", ".local/state", environment) / "sovtui"


def theme_dirs(environment: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Where themes are looked for, in order: the user's, those of the package, those beside a checkout."""
    package = Path(__file__).resolve().parent.parent
    return (config_dir(environment) / "themes", package / "themes", package.parent / "themes")


def theme_files(environment: Mapping[str, str] | None = None) -> dict[str, Path]:
    """Every theme file by its name; the user's own hides one of the package with the same name."""
    found: dict[str, Path] = {}
    for directory in theme_dirs(environment):
        try:
            files = sorted(directory.glob("*.toml"))
        except OSError:
            continue
        for file in files:
            found.setdefault(file.stem, file)
    return dict(sorted(found.items()))


def _xdg(variable: str, fallback: str, environment: Mapping[str, str] | None) -> Path:
    env = os.environ if environment is None else environment
    value = env.get(variable, "")
    if value and Path(value).is_absolute():  # the XDG specification: a relative path is to be ignored
        return Path(value)
    home = env.get("HOME", "")
    return (Path(home) if home else Path("~").expanduser()) / fallback
