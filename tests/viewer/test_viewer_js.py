"""The page's hands and keys, run by node in a page of stand-ins."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import gid_jax.viewer

SCRIPT = Path(gid_jax.viewer.__file__).parent / "viewer.js"
PAGE = """
const listeners = {}, calls = [];
const element = (id) => elements[id] ??= {
  id, textContent: {scene: '{"width": 8, "height": 6}', modes: ""}[id] ?? "", value: "0", attributes: {}, tagName: "X",
  setAttribute(name, value) { this.attributes[name] = String(value); },
  addEventListener() {}, classList: { toggle() {} },
  decode: () => (inputs.broken ? Promise.reject(new Error("x")) : Promise.resolve()),
};
const elements = {}, classes = new Set();
const page = {
  console: { error() {} }, atob, Uint8Array, JSON, Math, Number, Object, window: {}, Promise, Error,
  document: {
    getElementById: element, querySelectorAll: () => [],
    body: { classList: { add: (...names) => names.forEach((name) => classes.add(name)) } },
  },
  matchMedia: () => ({ matches: false }), requestAnimationFrame() {},
  addEventListener: (name, listener) => (listeners[name] = listener),
  Motion: class { reset() { calls.push("reset"); } poke() { calls.push("poke"); } },
  Stage: class { constructor() { if (inputs.noWebGL) throw new Error("no WebGL2"); } },
};
require("vm").runInNewContext(require("fs").readFileSync(inputs.script, "utf8"), page);
setTimeout(() => {
  for (const event of inputs.keys ?? [])
    listeners.keydown({ target: { tagName: "BODY" }, preventDefault() { calls.push("taken"); }, ...event });
  const pressed = (id) => element(id).attributes["aria-pressed"];
  console.log(JSON.stringify({
    calls, classes: [...classes], message: element("message").textContent, play: pressed("play"), hint: pressed("hint"),
  }));
}, 20);
"""

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def run_page(**inputs) -> dict:
    program = f"const inputs = {json.dumps({'script': str(SCRIPT), **inputs})};\n{PAGE}"
    done = subprocess.run(["node", "-e", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("key", ["r", "R", "к"])  # plain, with Shift or Caps Lock, on a Russian layout
def test_the_letter_counts_however_it_is_typed(key):
    shown = run_page(keys=[{"key": key, "code": "KeyR", "shiftKey": key == "R"}])
    assert shown["calls"] == ["reset", "taken"] and shown["classes"] == ["ready"]


def test_every_key_does_its_part():
    keys = [("H", "KeyH"), (" ", "Space"), ("ArrowLeft", "ArrowLeft"), ("x", "KeyR"), ("Tab", "Tab")]
    shown = run_page(keys=[{"key": key, "code": code} for key, code in keys])
    assert shown["calls"] == ["taken", "taken", "poke", "taken"], "x is no r, wherever it lies"
    assert shown["hint"] == "true" and shown["play"] == "false"
    held = run_page(keys=[{"key": "R", "code": "KeyR", "ctrlKey": True}])
    assert held["calls"] == [], "Ctrl-R is the browser's"


def test_a_page_that_cannot_move_says_why():
    broken = run_page(broken=True)
    assert broken["classes"] == ["still"] and "picture" in broken["message"]
    still = run_page(noWebGL=True)
    assert still["classes"] == ["still"] and still["message"] == "", "the page's own message, of WebGL2, stays"
