"""The SDKs of other people, unmodified, each in an environment of its own below `build/conformance`.

They are no dependencies of Elo: some ask for packages that it has in another version. Installed once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = Path(__file__).parent
CACHE: Final = ROOT / "build" / "conformance"
PYTHON_PACKAGES: Final = (
    "segment-analytics-python==2.4.0", "rudder-sdk-python==2.1.9", "snowplow-tracker==1.1.0",
    "posthog==7.91.1", "time-machine==3.6.0",
)  # fmt: skip
NODE_PACKAGES: Final = {
    "@segment/analytics-node": "3.1.0",
    "@rudderstack/rudder-sdk-node": "3.0.13",
    "@jitsu/js": "1.11.0",
    "@snowplow/node-tracker": "4.8.0",
    "@segment/analytics-next": "1.84.3",
    "@rudderstack/analytics-js": "3.34.1",
}
INSTALL_S: Final = 600
SEND_S: Final = 120


@dataclass(frozen=True)
class Sdk:
    """One SDK as `send.py` or `send.js` knows it. `retries`: it sends again after a 503 by itself.

    `gzip`: whether it packs its requests. `sends_large`: it leaves it to us to refuse an event of 40 KB.
    """

    name: str
    language: str
    retries: bool = True
    gzip: Literal["never", "asked", "always"] = "never"
    sends_large: bool = True
    has_traits: bool = True  # it can tell the e-mail address of a person
    calls: tuple[str, ...] = (
        "identified",
        "order_completed",
        "page_viewed",
        "screen_viewed",
        "grouped",
        "aliased",
    )


SNOWPLOW_CALLS: Final = ("order_completed", "page_viewed")
SDKS: Final = (
    Sdk("segment-analytics-python", "python", gzip="asked", sends_large=False),
    Sdk("rudder-sdk-python", "python", gzip="asked"),
    Sdk("posthog", "python", gzip="asked", calls=("identified", "order_completed", "page_viewed", "aliased")),
    Sdk("snowplow-tracker", "python", has_traits=False, calls=SNOWPLOW_CALLS),
    Sdk("@segment/analytics-node", "node"),
    Sdk("@rudderstack/rudder-sdk-node", "node", gzip="always"),
    Sdk(
        "@jitsu/js", "node", retries=False, calls=("identified", "order_completed", "page_viewed", "grouped")
    ),
    Sdk("@snowplow/node-tracker", "node", has_traits=False, calls=SNOWPLOW_CALLS),
)


def missing(sdk: Sdk) -> str:
    """Why an SDK cannot run here, empty if it can."""
    if sdk.language == "node" and not (shutil.which("node") and shutil.which("npm")):
        return f"{sdk.name} needs Node.js: install node and npm"
    return ""


def send(sdk: Sdk, host: str, person: str, **how: bool | int) -> None:
    """Run every call of an SDK for one person in a process of its own.

    `how`: `gzip`; `skew_s`, how wrong its clock is; `oversize`, one event more that is too large.
    """
    known = {"gzip": False, "skew_s": 0, "oversize": False}
    orders = json.dumps({"sdk": sdk.name, "host": host, "person": person, **known, **how})
    if sdk.language == "python":
        command = [str(_python()), str(HERE / "send.py"), orders]
    else:
        command = ["node", str(HERE / "send.js"), orders]
        install_node()
    environment = {**os.environ, "NODE_PATH": str(CACHE / "node" / "node_modules")}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=SEND_S, env=environment, check=False
    )
    assert done.returncode == 0, f"{sdk.name}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def install_node() -> None:
    """Install the packages of npm, once."""
    folder = CACHE / "node"
    wanted = json.dumps({"private": True, "dependencies": NODE_PACKAGES})
    if not (folder / "installed").is_file() or (folder / "installed").read_text() != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(wanted)
        _run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder))
        (folder / "installed").write_text(wanted)


def _python() -> Path:
    folder = CACHE / "python"
    interpreter = folder / "bin" / "python"
    wanted = "\n".join(PYTHON_PACKAGES)
    if not (folder / "installed").is_file() or (folder / "installed").read_text() != wanted:
        _run(sys.executable, "-m", "venv", "--clear", str(folder))
        _run(str(interpreter), "-m", "pip", "install", "--quiet", *PYTHON_PACKAGES)
        (folder / "installed").write_text(wanted)
    return interpreter


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
