# SPDX-License-Identifier: BSD-3-Clause
"""Headless Chromium in a network namespace, driven by chromedriver (W3C WebDriver) with the standard library."""
import base64
import http.client
import json
import os
import socket
import time

from labtest import in_netns, wait_for

PORT = 9515
ATTEMPTS = 3  # chromedriver waits 60 s for the browser, which is too short on a machine that compiles
BROWSER = "/usr/bin/chromium"
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Space": "\ue00d", "Shift": "\ue008", "End": "\ue010"}
# Root has no sandbox. Chromium's own services are off, so that all requests are those of the page.
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-default-browser-check", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions", "--metrics-recording-only", "--no-pings", "--disable-domain-reliability",
             "--disable-features=Translate,OptimizationHints,MediaRouter", "--hide-scrollbars", "about:blank"]


class Browser:
    """A context manager. `folder` gets the profile of the browser."""

    def __init__(self, lab, host, folder):
        self.lab, self.netns = lab, lab.netns(host)
        self.profile = os.path.join(folder, "profile")
        self.driver = lab.spawn("chromedriver", host, ["env", "HOME=" + folder, "TMPDIR=" + folder, "chromedriver", "--port=%d" % PORT])
        self.session = self.http = None

    def __enter__(self):
        def listens():
            self.driver.must_run()
            try:
                self.http = self.connect()
            except OSError:
                return False
            return True
        wait_for("chromedriver", listens, 60)
        for attempt in range(ATTEMPTS):
            options = {"binary": BROWSER, "args": ARGUMENTS + ["--user-data-dir=%s%d" % (self.profile, attempt)]}
            try:
                self.session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": {
                    "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"}}}})["sessionId"]
                return self
            except RuntimeError as e:
                print("     attempt %d: %s" % (attempt + 1, str(e)[:200]), flush=True)
                if attempt == ATTEMPTS - 1:
                    self.driver.stop()
                    raise

    def __exit__(self, *exc):
        if self.session:
            try:
                self.call("DELETE", "/session/" + self.session)
            except (OSError, RuntimeError, http.client.HTTPException):
                pass
        self.driver.stop()

    def connect(self):
        def work():
            c = http.client.HTTPConnection("127.0.0.1", PORT, timeout=120)
            c.sock = socket.create_connection(("127.0.0.1", PORT), timeout=120)
            return c
        return in_netns(self.netns, work)

    def call(self, method, path, body=None):
        self.http.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": "application/json"})
        response = self.http.getresponse()
        value = json.loads(response.read())["value"]
        if response.status != 200:
            raise RuntimeError("%s %s: %s" % (method, path, value))
        if response.will_close:
            self.http = self.connect()
        return value

    def ask(self, method, path, body=None):
        return self.call(method, "/session/%s%s" % (self.session, path), body)

    def cdp(self, command, **params):
        """A command of the DevTools protocol."""
        return self.ask("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    def open(self, url):
        self.ask("POST", "/url", {"url": url})

    def js(self, script, *args):
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(args)})

    def js_async(self, script, *args):
        return self.ask("POST", "/execute/async", {"script": script, "args": list(args)})

    def text(self, element):
        """The text of an element, as a person sees it; "" while it is hidden."""
        return self.js("const e = document.getElementById(arguments[0]); return e.checkVisibility() ? e.innerText : ''", element)

    def focused(self):
        """(id, accessible text) of the element with the focus."""
        return tuple(self.js("const e = document.activeElement; return [e.id, e.getAttribute('aria-label') || e.innerText || '']"))

    def press(self, *keys):
        """Keys of KEYS; `Shift+Tab` holds Shift."""
        actions = []
        for key in keys:
            *held, key = key.split("+")
            actions += [{"type": "keyDown", "value": KEYS[k]} for k in held]
            actions += [{"type": kind, "value": KEYS[key]} for kind in ("keyDown", "keyUp")]
            actions += [{"type": "keyUp", "value": KEYS[k]} for k in held]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def write(self, text):
        """Types into the element with the focus."""
        self.cdp("Input.insertText", text=text)

    def log(self, kind):
        return self.ask("POST", "/se/log", {"type": kind})

    def requests(self):
        """[(URL, what blocked it or None)] of all requests since the call before; without those for parts of the browser (chrome:)."""
        found, blocked = {}, {}
        for entry in self.log("performance"):
            message = json.loads(entry["message"])["message"]
            params = message["params"]
            if message["method"] == "Network.requestWillBeSent":
                found[params["requestId"]] = params["request"]["url"]
            elif message["method"] == "Network.loadingFailed":
                blocked[params["requestId"]] = params.get("blockedReason")
        return [(url, blocked.get(k)) for k, url in found.items() if not url.startswith("chrome:")]

    def size(self, width, height=900):
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def theme(self, name):
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}, {"name": "prefers-reduced-motion", "value": "reduce"}])

    def screenshot(self, path):
        """The whole page."""
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]))

    def until(self, script, *args, timeout=30):
        """Waits until the script returns something true; returns it."""
        end = time.monotonic() + timeout
        while True:
            value = self.js(script, *args)
            if value or time.monotonic() > end:
                return value
            time.sleep(0.05)  # the page has no channel to the test
