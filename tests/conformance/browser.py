"""Pages with SDKs in a real Chromium, headless: each page calls its SDK and asks for `/done` when it has."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from tests.conformance.sdks import CACHE

PAGE_S: Final = 90.0
CALLS: Final = """
      await sdk.identify(PERSON, {email: PERSON + '@example.com', city: 'Madrid'});
      await sdk.track('Order Completed', {total: 3.5});
      await sdk.page('Docs', 'Home');
      await sdk.group('g1', {name: 'Acme', email: 'office@example.com'});
"""
PAGES: Final = {
    "@segment/analytics-next": """
    <script src="/@segment/analytics-next/dist/umd/index.js"></script>
    <script>
    (async () => {
      const {AnalyticsBrowser} = window.AnalyticsNext;
      const [sdk] = await AnalyticsBrowser.load({writeKey: 'wk', cdnURL: HOST});
      CALLS
      setTimeout(() => fetch('/done'), 1500);
    })();
    </script>""",
    "@rudderstack/analytics-js": """
    <script src="/@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js"></script>
    <script>
    (async () => {
      const sdk = new (window.rudderanalytics.RudderAnalytics || window.rudderanalytics)();
      sdk.load('wk', HOST, {configUrl: HOST, lockIntegrationsVersion: true});
      sdk.ready(() => undefined);
      CALLS
      setTimeout(() => fetch('/done'), 4000);
    })();
    </script>""",
}


def missing_browser() -> str:
    """Why no page can be shown here, empty if one can."""
    return "" if shutil.which("chromium") else "needs Chromium: apt-get install chromium"


@contextmanager
def _served(page: str) -> Iterator[tuple[str, threading.Event]]:
    """The address of a page, with the installed SDKs beside it; the event is set by `/done`."""
    done = threading.Event()

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path in ("/", "/done"):
                body = page.encode() if self.path == "/" else b""
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                if self.path == "/done":
                    done.set()
            else:
                super().do_GET()

        def log_message(self, *arguments: Any) -> None:
            """Nothing."""

    folder = str(CACHE / "node" / "node_modules")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", done
    finally:
        server.shutdown()
        server.server_close()


def show(sdk: str, host: str, person: str, scratch: Path) -> None:
    """Show the page of an SDK, which sends to `host` from another origin, until it has called everything."""
    calls = f"<!doctype html><meta charset=utf-8><body>{PAGES[sdk].replace('CALLS', CALLS)}"
    page = calls.replace("HOST", f"'{host}'").replace("PERSON", f"'{person}'")
    with _served(page) as (address, done):
        command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        command += [f"--user-data-dir={scratch / 'chromium'}", "--enable-logging=stderr", address]
        with (scratch / "chromium.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                found = done.wait(PAGE_S)
            finally:
                process.terminate()
                process.wait(30)
        assert found, (scratch / "chromium.log").read_text(errors="replace")[-3000:]
