"""The file of a signing key, for `elo deliver key`: made for its owner alone, not overwritten, not shown."""

from __future__ import annotations

import os
from pathlib import Path

from .options import CommandFailed

OWNER_ONLY = 0o600


def read_or_make(file: Path, *, shared: bool) -> str:
    """The public half of the key in a file, empty of a shared secret. Raises CommandFailed."""
    from connectors.deliver.signing import PairSigner, make_pair, make_shared, signer_of

    try:
        try:
            made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
        except FileExistsError:
            key = file.read_text("utf-8", "replace").strip()
        else:
            key = make_shared() if shared else make_pair()
            with os.fdopen(made, "w") as opened:
                opened.write(key + "\n")
        signer = signer_of(key)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be used ({error.strerror})") from None
    except ValueError as error:
        raise CommandFailed(f"{file}: {error}") from None
    return signer.public if isinstance(signer, PairSigner) else ""
