#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The page of `management.http` in headless Chromium: a refresh from begin to end, a commit, and a lost daemon, by the keyboard alone; both themes
from 360 to 2,560 pixels; names and contrast of all that is shown. No request leaves the machine.

    rt (keeld, port p; chromium) --- f (a speaker, AS 64513)

With KEEL_AXE, the path of axe.min.js (npm pack axe-core), axe-core examines the page as well. Pictures of the page stay in build/test/page/.
"""
import http.client
import json
import os
import re
import sys

import labtest
from labtest import KEELD, ROUTE_REFRESH, UPDATE, V4, Lab, Speaker, as_path, in_netns, need, next_hop, origin, out_folder, update, wait_for
from test_start import config
from webdriver import BROWSER, Browser

NAME = "page"
HTTP = ("127.0.0.1", 9179)
HERE = "http://%s:%d/" % HTTP
US, THEM, DOWN = "198.18.1.1", "198.18.1.2", "198.18.1.3"
PREFIXES = ["20.0.%d.0/24" % i for i in range(50)]
PLANTED = "http://192.0.2.77/planted.png"
WIDTHS = (360, 1280, 2560)

# [ratio, text, colours] of texts with less contrast than WCAG AA asks for
CONTRAST = """
const light = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
const colour = text => text.match(/[\\d.]+/g).map(Number);
const back = e => { for (; e; e = e.parentElement) { const c = colour(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
const found = [];
for (const e of document.querySelectorAll("body *")) {
	if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility() || e.closest(".unseen, .skip, button:disabled, script, style"))
		continue;
	const a = light(colour(getComputedStyle(e).color).slice(0, 3)), b = light(back(e)), ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
	if (ratio < 4.5)
		found.push([ratio.toFixed(2), e.innerText, getComputedStyle(e).color, back(e).join()]);
}
return found;"""


def document(token):
    neighbour = {"group": "transit", "passive": True}
    return dict(config(), management={"http": "%s:%d" % HTTP, "http_token_file": token},
                route_policies=[{"name": "in", "nodes": [{"seq": 10, "action": "permit", "match": {}}]}],
                bgp={"groups": [{"name": "transit", "asn": 64513, "families": {V4: {"import_policy": "in", "export_policy": "accept-all"}}}],
                     "peers": [dict(neighbour, address=THEM, description="transit in the east"), dict(neighbour, address=DOWN)]})


def tab_to(browser, ids=(), name="", limit=120):
    """Tab until the element with this id or name has the focus. True: found."""
    for _ in range(limit):
        browser.press("Tab")
        focus = browser.focused()
        if focus[0] in ids or (name and name in focus[1]):
            return True
    return False


def head(lab):
    """(status, headers, body) of the page"""
    def get():
        c = http.client.HTTPConnection(*HTTP, timeout=60)
        c.request("GET", "/")
        r = c.getresponse()
        return r.status, dict(r.getheaders()), r.read()
    return in_netns(lab.netns("rt"), get)


def refresh(checks, browser, speaker, rpc):
    """A refresh that a button begins, and the speaker ends."""
    checks.true("Tab comes to the button of the refresh", tab_to(browser, name="Refresh import of " + THEM), browser.focused())
    browser.press("Enter")
    wait_for("the ROUTE-REFRESH", lambda: any(kind == ROUTE_REFRESH for kind, _ in speaker.received), 30)
    running = browser.until("return document.querySelector('#jobs tbody').innerText.includes('running') && document.getElementById('jobs-note').innerText")
    checks.equal("the page shows the job as it runs", running, "1 running")
    speaker.refresh(1)
    speaker.send(UPDATE, update(origin() + as_path([64513]) + next_hop(THEM), PREFIXES))
    speaker.refresh(2)
    checks.true("... and its end", browser.until("return document.querySelector('#jobs tbody').innerText.includes('done')"), browser.text("jobs"))
    job = rpc.call("jobs.list")["jobs"][-1]
    checks.true("a screen reader hears of it", browser.until("return document.getElementById('log').innerText.includes('(refresh-import) is done')"), browser.text("log"))
    checks.equal("the job is the daemon's", (job["kind"], job["state"]), ("refresh-import", "done"))


def commit(checks, browser, rpc, folder):
    """An edit, its preview and its commit."""
    before = rpc.call("system.info")["revision"]
    checks.true("Tab comes to the editor", tab_to(browser, name="Edit the candidate"), browser.focused())
    browser.press("Enter")
    checks.true("... and into it", tab_to(browser, ["edit-text"], limit=3), browser.focused())
    policy = [{"name": "in", "nodes": [{"seq": 10, "action": "permit", "match": {}, "set": {"local_pref": 200}}]}]
    browser.write(json.dumps({"route_policies": policy, "bgp": {"max_paths": 2}}))
    browser.press("Tab", "Enter")
    shown = browser.until("const t = document.getElementById('preview').innerText; return t.includes('50') && t")
    checks.true("the preview counts the routes that would change", shown and re.search(r"%s.*\bimport\b" % re.escape(THEM), shown, re.S), shown)
    checks.true("... beside what is edited", "/bgp/max_paths" in browser.text("diff"), browser.text("diff"))
    checks.equal("... and nothing is committed", rpc.call("system.info")["revision"], before)
    browser.screenshot(os.path.join(folder, "pending.png"))
    checks.true("Shift+Tab comes back to the button", any(browser.press("Shift+Tab") or browser.focused()[0] == "commit-do" for _ in range(20)), browser.focused())
    browser.press("Space")
    checks.true("the commit is in force", browser.until("return document.getElementById('commit-said').innerText.includes('is in force')"), browser.text("commit-said"))
    checks.equal("... in the daemon", rpc.call("config.get", path="/bgp/max_paths")["document"], 2)
    checks.equal("... with the user of the token", rpc.call("config.history")["commits"][-1]["user"], "token:ann")
    checks.true("the page has nothing to commit", browser.until("return document.getElementById('commit-empty').checkVisibility()"), browser.text("commit"))
    checks.equal("the focus is where the button was", browser.focused()[0], "commit-title")


def refused(checks, browser, speaker, rpc):
    """An address that only a refused route covers: the page names prefix, peer and cause."""
    speaker.send(UPDATE, update(origin() + as_path([64513, 64512]) + next_hop(THEM), ["203.0.113.0/24"]))
    wait_for("the refused route", lambda: rpc.call("rib.routes", family=V4, view="loc", prefix="203.0.113.0/24", limit=1).get("refused"), 30)
    browser.js("document.getElementById('find-what').value = ''")
    browser.write("203.0.113.7")
    browser.press("Enter")
    row = browser.until("const t = document.querySelector('#found tbody'); return t && t.innerText.includes('203.0.113.0/24') && t.innerText")
    checks.true("a refused route that covers an address, with peer and cause", row and THEM in row and "as-loop" in row, row or browser.text("found-note"))


def looks(checks, browser, folder):
    """Both themes in all widths."""
    for theme in ("light", "dark"):
        browser.theme(theme)
        for width in WIDTHS:
            browser.size(width)
            browser.js("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            wide = browser.js("return [document.documentElement.scrollWidth, [...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && !e.closest('.unseen, .skip, .scroll') && "
                              "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 100))]")
            checks.true("%s, %d pixels: nothing is wider than the window" % (theme, width), wide[0] <= width and wide[1] == [], wide)
            browser.screenshot(os.path.join(folder, "%s-%d.png" % (theme, width)))
        checks.equal("%s: contrast" % theme, browser.js(CONTRAST), [])


def named(checks, browser):
    """The accessibility tree: controls have a name, tables stay tables in the narrow layout."""
    nodes = [n for n in browser.cdp("Accessibility.getFullAXTree")["nodes"] if not n.get("ignored")]
    role = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes]
    controls = {"button", "textbox", "searchbox", "checkbox", "progressbar", "table", "region", "image", "combobox", "link"}
    checks.equal("all controls have a name", [r for r in role if r[0] in controls and not r[1].strip()], [])
    checks.true("... and there are such", len([r for r in role if r[0] in controls]) > 10, role)
    checks.equal("one main part, one heading of the first level", (len([r for r in role if r[0] == "main"]), browser.js("return document.querySelectorAll('h1').length")), (1, 1))
    browser.size(360)
    narrow = [n["role"]["value"] for n in browser.cdp("Accessibility.getFullAXTree")["nodes"] if not n.get("ignored")]
    checks.true("the narrow layout keeps tables", narrow.count("table") > 1 and narrow.count("rowheader") > 1, narrow)
    browser.size(1280)
    ids = browser.js("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    checks.equal("ids are unique", len(ids), len(set(ids)))
    if "KEEL_AXE" not in os.environ:
        print("     KEEL_AXE is not set: axe-core does not run", flush=True)
        return
    with open(os.environ["KEEL_AXE"]) as f:
        browser.cdp("Runtime.evaluate", expression=f.read())
    for theme in ("light", "dark"):
        browser.theme(theme)
        found = browser.js_async("axe.run(document, {resultTypes: ['violations']}).then(r => arguments[0](r.violations.map(v => [v.impact, v.id, v.nodes.map(n => n.html.slice(0, 200))])))")
        print("     axe-core: %s" % found, flush=True)
        checks.equal("axe-core, %s: serious findings" % theme, [v for v in found if v[0] in ("serious", "critical")], [])


def protected(checks, lab, browser):
    """The Content-Security-Policy holds."""
    status, headers, body = head(lab)
    policy = headers.get("Content-Security-Policy", "")
    checks.true("the policy allows only what the page has", status == 200 and policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy, (status, policy))
    checks.equal("no handlers in the markup", re.findall(rb"\son\w+\s*=", body), [])
    checks.equal("... and no address of another server", [u for u in re.findall(rb"https?://[^\s\"']+", body)], [])
    browser.js("const s = document.createElement('script'); s.textContent = 'window.planted = 1'; document.body.append(s); s.remove(); const i = new Image(); i.src = arguments[0]", PLANTED)
    checks.equal("a planted script does not run", browser.js("return window.planted === undefined"), True)


def test(checks):
    folder = out_folder(NAME)
    with Lab(folder) as lab:
        for h in ("rt", "f"):
            lab.host(h)
        lab.link("f", "up", THEM + "/24", "rt", "p", None)
        lab.sh("f", "ip route add default via " + US)
        doc = document(lab.write("token", "ann: a-secret\n"))
        daemon, rpc = lab.keeld("rt", doc, KEELD)
        speaker = Speaker(lab.netns("f"), THEM, US, 64513).up()
        speaker.send(UPDATE, update(origin() + as_path([64513]) + next_hop(THEM), PREFIXES))
        wait_for("the routes", lambda: rpc.call("bgp.peers")["peers"][0]["families"][V4]["accepted"] == len(PREFIXES), 30)
        with Browser(lab, "rt", lab.dir) as browser:
            browser.size(1280)
            browser.theme("light")
            browser.open(HERE)
            checks.true("the page is live", browser.until("return document.getElementById('live').innerText === 'live'"), browser.js("return document.body.innerText"))
            row = browser.until("const t = document.querySelector('#sessions tbody'); return t && t.rows.length === 2 && t.rows[0].innerText")
            checks.true("a session with its routes", row and all(w in row for w in (THEM, "64513", "established", "transit in the east", "50")), row)
            checks.true("... and one that is down", browser.js("return document.querySelectorAll('#sessions tbody tr')[1].innerText.includes('○')"))
            checks.true("the title names the router", browser.until("return document.title === 'Keel %s'" % US), browser.js("return document.title"))
            checks.equal("without a token the page has no button that changes anything",
                         browser.js("return [...document.querySelectorAll('button')].filter(b => b.checkVisibility()).map(b => b.innerText)"), ["Sign in", "Look up"])
            lab.sh("f", "ping -q -c 20 -i 0.02 -W 1 192.0.2.77", check=False)
            checks.true("packets and drops", browser.until("return document.querySelector('#ports tbody').innerText.includes('p') && document.querySelector('#drops tbody').innerText"),
                        browser.text("packets"))
            checks.true("the loop gap of the worker", browser.until("return /Longest loop gap\\s+[\\d.]+ (ns|µs|ms)/.test(document.getElementById('tiles').innerText)"), browser.text("tiles"))

            browser.js("document.activeElement.blur()")
            checks.true("Tab comes to the token", tab_to(browser, ["token"], limit=5), browser.focused())
            browser.write("wrong")
            browser.press("Enter")
            checks.true("a wrong token is refused", browser.until("return document.getElementById('asked').innerText.includes('refuses this token')"), browser.text("asked"))
            browser.press("Enter")  # the focus is on Sign out
            checks.equal("the focus is on the field again", browser.focused()[0], "token")
            browser.write("a-secret")
            browser.press("Enter")
            checks.true("the token of ann is accepted", browser.until("return document.getElementById('rights').innerText.includes('token:ann')"), browser.text("rights"))
            refresh(checks, browser, speaker, rpc)
            commit(checks, browser, rpc, folder)
            speaker.refresh(1)  # the commit has sent a ROUTE-REFRESH
            speaker.send(UPDATE, update(origin() + as_path([64513]) + next_hop(THEM), PREFIXES))
            speaker.refresh(2)
            checks.true("Tab comes to the search for routes", tab_to(browser, ["find-what"]), browser.focused())
            browser.write(PREFIXES[7])
            browser.press("Enter")
            checks.true("a route", browser.until("const t = document.querySelector('#found tbody'); return t && t.innerText.includes('64513') && t.innerText"), browser.text("found-note"))
            refused(checks, browser, speaker, rpc)
            named(checks, browser)
            looks(checks, browser, folder)
            protected(checks, lab, browser)

            errors = [e for e in browser.log("browser") if "planted" not in e["message"] and "401" not in e["message"]
                      and "Content Security Policy" not in e["message"]]
            checks.equal("no errors on the console", errors, [])
            checks.equal("it stops in order", daemon.stop(), 0)
            checks.true("the page says that the daemon is lost", browser.until("return document.getElementById('lost').innerText.includes('does not answer')"), browser.text("live"))
            checks.equal("... and keeps the values", browser.js("return document.querySelectorAll('#sessions tbody tr').length"), 2)
            browser.screenshot(os.path.join(folder, "lost.png"))
            rpc.close()
            daemon, rpc = lab.keeld("rt", doc, KEELD)
            checks.true("... and that it answers again", browser.until("return document.getElementById('live').innerText === 'live' && document.getElementById('log').innerText.includes('started again')"),
                        browser.text("log"))
            seen = browser.requests()
            checks.true("the page asked this router", len([u for u, _ in seen if u == HERE + "rpc"]) > 5, seen[:5])
            checks.equal("no request leaves the machine; the planted one is blocked", {x for x in seen if not x[0].startswith((HERE, "data:"))}, {(PLANTED, "csp")})
        rpc.close()
        checks.equal("it stops in order", daemon.stop(), 0)


if __name__ == "__main__":
    need("ip", "ethtool", "ping", BROWSER, "chromedriver", files=[KEELD])
    sys.exit(labtest.main(test))
