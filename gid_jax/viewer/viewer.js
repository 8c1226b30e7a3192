"use strict";
/* Hands, keys and sliders. */
const decode = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
const element = (id) => document.getElementById(id);
const GRAB_RADIUS = 0.06; // of the picture's longer side
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function start(photo) {
  const scene = JSON.parse(element("scene").textContent);
  const modes = decode(element("modes").textContent.trim());
  const canvas = element("canvas");
  const motion = new Motion(scene, modes);
  let stage = new Stage(canvas, photo, scene, modes, motion.weight);
  const setting = { playing: !matchMedia("(prefers-reduced-motion: reduce)").matches };
  let [hint, hinting, introduction] = [0, false, setting.playing ? 2.4 : 0];

  const readSliders = () => {
    for (const name of ["stiffness", "damping", "strength"]) setting[name] = 2 ** Number(element(name).value);
  };
  const showButtons = () => {
    element("play").setAttribute("aria-pressed", setting.playing);
    element("hint").setAttribute("aria-pressed", hinting);
  };
  const actions = {
    play: () => (setting.playing = !setting.playing),
    hint: () => ([hinting, introduction] = [!hinting, 0]),
    reset() {
      motion.reset();
      for (const slider of document.querySelectorAll("input")) slider.value = slider.defaultValue;
      readSliders();
    },
  };
  for (const name of Object.keys(actions))
    element(name).addEventListener("click", () => {
      actions[name]();
      showButtons();
    });
  for (const slider of document.querySelectorAll("input")) slider.addEventListener("input", readSliders);

  /** Pixel of the spectrum under the pointer. */
  const locate = (event) => {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * scene.width - 0.5,
      ((event.clientY - box.top) / box.height) * scene.height - 0.5,
    ];
  };
  const find = (event) => motion.find(...locate(event), GRAB_RADIUS * Math.max(scene.width, scene.height));

  let [pointer, origin] = [null, null];
  canvas.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    const found = find(event);
    if (!found) return void (introduction = 1.2); // shows what can be grabbed
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    [pointer, origin] = [event.pointerId, locate(event)];
    motion.grab(found);
    document.body.classList.add("touched", "holding");
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId === pointer) {
      const [x, y] = locate(event);
      motion.pull(x - origin[0], y - origin[1]);
    } else if (pointer === null && event.pointerType === "mouse") {
      canvas.classList.toggle("grabbable", find(event) !== null);
    }
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"])
    canvas.addEventListener(name, (event) => {
      if (event.pointerId !== pointer) return;
      pointer = null;
      motion.letGo();
      document.body.classList.remove("holding");
    });

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const slider = event.target.tagName === "INPUT";
    // Of the letter that is typed, capital or not; of the key's place where that gives no Latin one.
    const letter = /^[a-z]$/i.test(event.key) ? event.key.toLowerCase() : (event.code ?? "").replace("Key", "").toLowerCase();
    if (event.key in KEYS && !slider) {
      const push = 0.06 * Math.min(scene.width, scene.height) * setting.strength;
      motion.poke(...KEYS[event.key].map((sign) => sign * push));
      document.body.classList.add("touched");
    } else if (event.key === " " && event.target.tagName !== "BUTTON") actions.play();
    else if (letter === "r") actions.reset();
    else if (letter === "h") actions.hint();
    else return;
    event.preventDefault();
    showButtons();
  });

  canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", () => {
    stage = new Stage(canvas, photo, scene, modes, motion.weight);
  });

  let last = null;
  const frame = (now) => {
    const elapsed = last === null ? 0 : Math.min((now - last) / 1000, 0.1);
    last = now;
    motion.advance(elapsed, setting);
    introduction = Math.max(0, introduction - elapsed);
    hint += ((hinting || introduction > 0.6 ? 1 : 0) - hint) * (1 - Math.exp(-elapsed / 0.18));
    stage.draw(motion.total, hint);
    requestAnimationFrame(frame);
  };
  readSliders();
  showButtons();
  requestAnimationFrame(frame);
  window.viewer = { motion, setting, scene }; // for the console
}

const photo = element("photo");
photo.decode().then(
  () => {
    try {
      start(photo);
      document.body.classList.add("ready");
    } catch (error) {
      console.error(error);
      document.body.classList.add("still");
    }
  },
  (error) => {
    console.error(error);
    element("message").textContent = "The picture in this page cannot be shown: the file is damaged. Make or load it again.";
    document.body.classList.add("still");
  },
);
