// The volume viewer of a report: NiiVue panels on one grid that share crosshair, planes and window.
"use strict";
(function () {
  const byId = (id) => document.getElementById(id);
  const root = byId("viewer");
  const data = JSON.parse(byId("viewer-data").textContent);
  const PLANES = {
    all: { axis: 2, type: niivue.SLICE_TYPE.MULTIPLANAR },
    axial: { axis: 2, type: niivue.SLICE_TYPE.AXIAL },
    coronal: { axis: 1, type: niivue.SLICE_TYPE.CORONAL },
    sagittal: { axis: 0, type: niivue.SLICE_TYPE.SAGITTAL },
  };
  const DIFFERENCE_COLORS = {
    R: [5, 67, 247, 214, 103], G: [48, 147, 247, 96, 0], B: [97, 195, 247, 77, 31],
    A: [255, 255, 255, 255, 255], I: [0, 64, 128, 192, 255],
  };
  const HEADER_BYTES = 352;
  const DATATYPES = { 2: Uint8Array, 4: Int16Array };
  const FLOAT32 = 16;
  const NARROW = 700;
  const CROSSHAIR_WIDTH = 0.4; // percent of the field of view
  const DRAG_PIXELS = 200;
  const state = { scene: null, voxel: [0, 0, 0], plane: "all", mode: "side", divider: 50, crosshair: true };
  let panels = [];

  async function decode(panel) {
    const packed = Uint8Array.from(atob(panel.nifti), (character) => character.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const buffer = await new Response(stream).arrayBuffer();
    const header = new DataView(buffer);
    const voxels = new DATATYPES[header.getInt16(70, true)](buffer, HEADER_BYTES);
    return { name: panel.name, windows: panel.windows, buffer, voxels, slope: header.getFloat32(112, true) };
  }

  function subtract(minuend, subtrahend, limit) {
    const buffer = new ArrayBuffer(HEADER_BYTES + 4 * minuend.voxels.length);
    new Uint8Array(buffer).set(new Uint8Array(minuend.buffer, 0, HEADER_BYTES));
    const header = new DataView(buffer);
    header.setInt16(70, FLOAT32, true);
    header.setInt16(72, 32, true);
    header.setFloat32(112, 1, true);
    const voxels = new Float32Array(buffer, HEADER_BYTES);
    for (let i = 0; i < voxels.length; i++) {
      voxels[i] = minuend.voxels[i] * minuend.slope - subtrahend.voxels[i] * subtrahend.slope;
    }
    const unit = minuend.windows[0].unit;
    const windows = [{ name: "difference", low: -limit, high: limit, unit }];
    return { name: `${minuend.name} − ${subtrahend.name}`, windows, buffer, voxels, slope: 1, isDifference: true };
  }

  async function show(index) {
    root.dataset.state = "loading";
    byId("scene").disabled = true;
    try {
      await load(index);
      root.dataset.state = "ready";
    } catch (error) {
      root.dataset.state = "failed";
      byId("viewer-status").hidden = false;
      byId("viewer-status").textContent = `The volumes cannot be shown: ${error.message}`;
      console.error(error);
    }
    byId("scene").disabled = false;
  }

  async function load(index) {
    const scene = data.scenes[index];
    const volumes = await Promise.all(scene.panels.map(decode));
    if (scene.difference_limit !== null) {
      volumes.push(subtract(volumes[scene.pair[0]], volumes[scene.pair[1]], scene.difference_limit));
    }
    const sameShape = state.scene && String(state.scene.shape) === String(scene.shape);
    state.scene = scene;
    if (!sameShape) state.voxel = [2, 1, 0].map((axis) => Math.floor(scene.shape[axis] / 2));
    byId("scene").value = index;
    await buildPanels(volumes);
    state.main = scene.pair ? scene.pair[0] : 0;
    setWindow(main().windows[0]);
    fillPresets();
    fillDifference();
    byId("compare").hidden = !scene.pair;
    setMode(scene.pair ? state.mode : "side");
    setPlane(state.plane);
    byId("viewer-status").hidden = true;
  }

  async function buildPanels(volumes) {
    while (panels.length > volumes.length) {
      const removed = panels.pop();
      removed.nv.cleanup?.();
      removed.element.remove();
    }
    while (panels.length < volumes.length) panels.push(await newPanel());
    for (const [index, panel] of panels.entries()) {
      panel.volume = volumes[index];
      panel.element.querySelector("b").textContent = panel.volume.isDifference ? "difference" : panel.volume.name;
      panel.element.title = panel.volume.name;
      panel.canvas.setAttribute("aria-label", panel.volume.name);
      panel.canvas.setAttribute("role", "img");
      panel.element.classList.toggle("first", state.scene.pair?.[0] === index);
      panel.element.classList.toggle("second", state.scene.pair?.[1] === index);
      for (const old of [...panel.nv.volumes]) panel.nv.removeVolume(old);
      const window = panel.volume.windows[0];
      const image = await niivue.NVImage.loadFromFile({
        file: new File([panel.volume.buffer], `volume${index}.nii`),
        name: `volume${index}.nii`,
        colormap: panel.volume.isDifference ? "difference" : "gray",
        cal_min: window.low,
        cal_max: window.high,
        trustCalMinMax: false,
      });
      panel.nv.addVolume(image);
      panel.window = window;
    }
  }

  async function newPanel() {
    const element = document.createElement("div");
    element.className = "panel";
    element.innerHTML = '<div class="heading"><b></b><span></span></div><div class="box"><canvas></canvas></div>';
    byId("panels").append(element);
    const canvas = element.querySelector("canvas");
    const nv = new niivue.Niivue({
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      backColor: [0, 0, 0, 1],
      crosshairColor: [1, 0.83, 0.24, 0.8],
      crosshairWidthUnit: "percent",
      multiplanarShowRender: niivue.SHOW_RENDER.NEVER,
      multiplanarPadPixels: 2,
      dragMode: niivue.DRAG_MODE.none,
      loadingText: "",
      logLevel: "error",
    });
    nv.addColormap("difference", DIFFERENCE_COLORS);
    await nv.attachToCanvas(canvas);
    const panel = { element, canvas, nv, box: element.querySelector(".box") };
    nv.onLocationChange = (location) => {
      if (root.dataset.state !== "ready" || panel.isMoving) return;
      const [x, y, z] = nv.scene.crosshairPos;
      const sizes = sizesXyz();
      setVoxel([x, y, z].map((fraction, axis) => Math.floor(fraction * sizes[axis])));
    };
    element.addEventListener("pointerdown", (event) => press(panel, event));
    return panel;
  }

  const sizesXyz = () => [...state.scene.shape].reverse();
  const main = () => panels[state.main].volume;
  const sharesWindow = (panel, other) => JSON.stringify(panel.volume.windows) === JSON.stringify(other.windows);
  const format = (value, window) => {
    const span = Math.abs(window.high - window.low);
    return value.toFixed(span >= 20 ? 0 : span >= 2 ? 1 : 2).replace("-", "−") + (window.unit ? ` ${window.unit}` : "");
  };

  function setVoxel(voxel) {
    const sizes = sizesXyz();
    state.voxel = voxel.map((index, axis) => Math.min(Math.max(index, 0), sizes[axis] - 1));
    const [i, j, k] = state.voxel;
    for (const panel of panels) {
      panel.isMoving = true;
      panel.nv.scene.crosshairPos = state.voxel.map((index, axis) => (index + 0.5) / sizes[axis]);
      panel.nv.drawScene();
      panel.isMoving = false;
      const value = panel.volume.voxels[(k * sizes[1] + j) * sizes[0] + i] * panel.volume.slope;
      panel.element.querySelector(".heading span").textContent = format(value, panel.window);
    }
    const axis = PLANES[state.plane].axis;
    const slider = byId("slice");
    slider.max = sizes[axis] - 1;
    slider.value = state.voxel[axis];
    const plane = state.plane === "all" ? "axial" : state.plane;
    byId("slice-value").textContent = `${plane} ${state.voxel[axis] + 1} of ${sizes[axis]}`;
  }

  function moveSlice(steps) {
    const voxel = [...state.voxel];
    voxel[PLANES[state.plane].axis] += steps;
    setVoxel(voxel);
  }

  function setPlane(plane) {
    state.plane = plane;
    mark("[data-plane]", (button) => button.dataset.plane === plane);
    layout();
    setVoxel(state.voxel);
  }

  function setMode(mode) {
    state.mode = mode;
    mark("[data-mode]", (button) => button.dataset.mode === mode);
    byId("panels").classList.toggle("swiping", mode !== "side");
    byId("swipe-control").hidden = mode === "side";
    if (state.scene.pair) {
      const [first, second] = state.scene.pair.map((index) => panels[index].volume.name);
      byId("swipe-names").textContent = `${second} | ${first}`;
    }
    setDivider(state.divider);
    layout();
    setVoxel(state.voxel);
  }

  function setDivider(percent) {
    state.divider = Math.min(Math.max(percent, 0), 100);
    byId("swipe").value = state.divider;
    byId("panels").style.setProperty("--divider", `${state.divider}%`);
  }

  function blink() {
    if (state.mode !== "blink") {
      setMode("blink");
      setDivider(100);
    } else {
      setDivider(state.divider < 50 ? 100 : 0);
    }
  }

  function layout() {
    // The box of a panel has the shape of the planes in it, in millimeters.
    const affine = panels[0].nv.volumes[0].hdr.pixDims;
    const [x, y, z] = sizesXyz().map((size, axis) => size * affine[axis + 1]);
    const row = state.mode !== "side";
    const shapes = {
      all: row ? [x + x + y, Math.max(y, z)] : [Math.max(x, y), y + z + z],
      axial: [x, y],
      coronal: [x, z],
      sagittal: [y, z],
    };
    const [width, height] = shapes[state.plane];
    for (const panel of panels) {
      panel.box.style.setProperty("--shape", width / height);
      panel.nv.opts.multiplanarLayout = row ? niivue.MULTIPLANAR_TYPE.ROW : niivue.MULTIPLANAR_TYPE.COLUMN;
      panel.nv.opts.crosshairWidth = state.crosshair ? CROSSHAIR_WIDTH : 0;
      panel.nv.setSliceType(PLANES[state.plane].type);
      if (panel.canvas.clientWidth) panel.nv.resizeListener();
    }
  }

  function setWindow(window, source) {
    const volume = source ? source.volume : main();
    for (const panel of panels) {
      if (!sharesWindow(panel, volume)) continue;
      panel.window = window;
      panel.nv.volumes[0].cal_min = window.low;
      panel.nv.volumes[0].cal_max = window.high;
      panel.nv.updateGLVolume();
    }
    if (sharesWindow({ volume }, main())) showWindow(window);
  }

  // Without a difference the sliders follow the panel that was pressed; the right button drags window and level.
  function press(panel, event) {
    root.focus({ preventScroll: true });
    if (state.scene.difference_limit === null) {
      state.main = panels.indexOf(panel);
      fillPresets();
    }
    if (event.button !== 2) return;
    const { low, high } = panel.window;
    const drag = new AbortController();
    window.addEventListener("pointermove", (move) => {
      const width = (high - low) * Math.exp((move.clientX - event.clientX) / DRAG_PIXELS);
      const level = (low + high) / 2 + ((event.clientY - move.clientY) / DRAG_PIXELS) * (high - low);
      if (panel.volume.isDifference) setLimit(width / 2);
      else setWindow({ ...panel.window, low: level - width / 2, high: level + width / 2 }, panel);
    }, { signal: drag.signal });
    window.addEventListener("pointerup", () => drag.abort(), { signal: drag.signal });
  }

  function showWindow(window) {
    const windows = main().windows;
    const low = Math.min(...windows.map((each) => each.low));
    const high = Math.max(...windows.map((each) => each.high));
    const [level, width] = [(window.low + window.high) / 2, window.high - window.low];
    Object.assign(byId("level"), { min: Math.min(low, level), max: Math.max(high, level), value: level });
    Object.assign(byId("width"), { min: (high - low) / 200, max: Math.max(1.5 * (high - low), width), value: width });
    byId("level-value").textContent = format(level, window);
    byId("width-value").textContent = format(width, window);
    mark("[data-window]", (button) => {
      if (windows.length === 1) return false;
      const preset = windows[button.dataset.window];
      return preset.low === window.low && preset.high === window.high;
    });
  }

  function windowFromSliders() {
    const [level, width] = [Number(byId("level").value), Number(byId("width").value)];
    setWindow({ ...main().windows[0], low: level - width / 2, high: level + width / 2 });
  }

  function fillPresets() {
    const windows = main().windows;
    const buttons = windows.map((window, index) => {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", textContent: windows.length > 1 ? window.name : "Reset window" });
      button.dataset.window = index;
      button.addEventListener("click", () => setWindow(window));
      return button;
    });
    byId("presets").replaceChildren(...buttons);
    showWindow(panels[state.main].window);
  }

  function fillDifference() {
    const limit = state.scene.difference_limit;
    byId("difference-control").hidden = limit === null;
    if (limit === null) return;
    Object.assign(byId("limit"), { min: limit / 50, max: 2 * limit, value: limit });
    setLimit(limit);
  }

  function setLimit(limit) {
    const panel = panels.find((each) => each.volume.isDifference);
    panel.window = { ...panel.volume.windows[0], low: -limit, high: limit };
    panel.nv.volumes[0].cal_min = -limit;
    panel.nv.volumes[0].cal_max = limit;
    panel.nv.updateGLVolume();
    byId("limit").value = limit;
    byId("limit-value").textContent = format(limit, { ...panel.window, high: 0 });
  }

  function mark(selector, isPressed) {
    for (const button of root.querySelectorAll(selector)) button.setAttribute("aria-pressed", isPressed(button));
  }

  function reset() {
    state.crosshair = true;
    setDivider(50);
    setWindow(main().windows[0]);
    fillDifference();
    setMode("side");
    setVoxel([2, 1, 0].map((axis) => Math.floor(state.scene.shape[axis] / 2)));
  }

  const KEYS = {
    ArrowUp: () => moveSlice(1),
    ArrowDown: () => moveSlice(-1),
    PageUp: () => moveSlice(5),
    PageDown: () => moveSlice(-5),
    ArrowLeft: () => setDivider(state.divider - 2),
    ArrowRight: () => setDivider(state.divider + 2),
    0: () => setPlane("all"),
    1: () => setPlane("axial"),
    2: () => setPlane("coronal"),
    3: () => setPlane("sagittal"),
    s: () => state.scene.pair && setMode(state.mode === "side" ? "swipe" : "side"),
    b: () => state.scene.pair && blink(),
    c: () => { state.crosshair = !state.crosshair; layout(); setVoxel(state.voxel); },
    n: () => show((data.scenes.indexOf(state.scene) + 1) % data.scenes.length),
    r: reset,
  };

  function listen() {
    const capture = { capture: true };
    root.addEventListener("keydown", (event) => {
      const inControl = event.target.matches("input, select, summary");
      const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      event.stopPropagation(); // NiiVue has keys of its own
      if (!action || (inControl && event.key.length > 1) || root.dataset.state !== "ready") return;
      event.preventDefault();
      action();
    }, capture);
    root.addEventListener("keyup", (event) => event.stopPropagation(), capture);
    byId("panels").addEventListener("wheel", (event) => {
      event.stopPropagation();
      if (!root.contains(document.activeElement)) return; // the page scrolls until the viewer is clicked
      event.preventDefault();
      moveSlice(event.deltaY < 0 ? 1 : -1);
    }, { capture: true, passive: false });
    byId("panels").addEventListener("contextmenu", (event) => event.preventDefault());
    byId("panels").addEventListener("dblclick", (event) => { event.stopPropagation(); reset(); }, capture);
    byId("slice").addEventListener("input", (event) => moveSlice(event.target.value - state.voxel[PLANES[state.plane].axis]));
    byId("swipe").addEventListener("input", (event) => setDivider(Number(event.target.value)));
    byId("level").addEventListener("input", windowFromSliders);
    byId("width").addEventListener("input", windowFromSliders);
    byId("limit").addEventListener("input", (event) => setLimit(Number(event.target.value)));
    byId("scene").addEventListener("change", (event) => show(Number(event.target.value)));
    for (const button of root.querySelectorAll("[data-plane]")) {
      button.addEventListener("click", () => setPlane(button.dataset.plane));
    }
    for (const button of root.querySelectorAll("[data-mode]")) {
      button.addEventListener("click", () => (button.dataset.mode === "blink" ? blink() : setMode(button.dataset.mode)));
    }
  }

  function start() {
    if (!document.createElement("canvas").getContext("webgl2") || typeof DecompressionStream === "undefined") {
      root.dataset.state = "unavailable";
      byId("viewer-status").textContent =
        "This browser cannot show volumes (it has no WebGL 2 or is too old). The pictures below need neither.";
      for (const part of root.querySelectorAll(".toolbar, .controls, .panels, details")) part.hidden = true;
      return;
    }
    byId("scene").replaceChildren(...data.scenes.map((scene, index) => new Option(scene.title, index)));
    byId("scene").parentElement.hidden = data.scenes.length < 2;
    if (window.innerWidth < NARROW) state.plane = "axial";
    listen();
    show(data.start);
  }

  root.viewer = { state, panels: () => panels };
  start();
})();
