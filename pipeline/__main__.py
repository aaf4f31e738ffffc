"""`elo`, also `python -m pipeline`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        from .cli.app import app
        from .cli.options import run_app

        sys.exit(run_app(app))
    except KeyboardInterrupt:  # Ctrl-C while modules are still being loaded
        sys.exit(130)


if __name__ == "__main__":
    main()
