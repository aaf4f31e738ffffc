"""Secrets from files: the setting `profile_key` may be given as the path `profile_key_file`.

So orchestrators hand them over, and neither the environment nor the command line shows them. It must not know
which settings there are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

from .core.errors import ConfigError

SUFFIX: Final = "_file"
SECRET_BYTES_MAX: Final = 64 * 1024


def with_secret_files(
    secrets: Collection[str],
    values: Mapping[str, Any],
    given: Mapping[str, Any],
    place: Callable[[str], str],
) -> dict[str, Any]:
    """`values` with every secret that `given` names a file for.

    Args:
        values: setting → value of one source, the environment or the settings file.
        given: all names of that source, in lower case, those that end in `_file` among them.
        place: how a name is written in that source.
    Raises: ConfigError when a secret is given twice, or its file cannot be read.
    """
    found = dict(values)
    for secret in secrets:
        path = given.get(secret + SUFFIX)
        if not path:
            continue
        if values.get(secret):
            raise ConfigError(f"{place(secret)} and {place(secret + SUFFIX)} are both set, keep one")
        found[secret] = _read(Path(str(path)).expanduser(), place(secret + SUFFIX))
    return found


def _read(path: Path, place: str) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(SECRET_BYTES_MAX + 1).decode()
    except OSError as error:
        raise ConfigError(f"{place}: {path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{place}: {path} is not a text in UTF-8") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or len(text) > SECRET_BYTES_MAX:
        raise ConfigError(f"{place}: {path} is {'empty' if not text else 'too large for a secret'}")
    return text
