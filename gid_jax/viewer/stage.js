"use strict";
/* The stage: a photo on a mesh that WebGL2 bends, frame by frame. Knows no time and no physics. */
const MARGIN = 0.08; // mirrored picture around the picture, so that motion at an edge uncovers no void

class Stage {
  /** Raises Error where WebGL2 is missing. `modes` is bytes [K-1, h, w, 4], `weight` bytes [h, w]. */
  constructor(canvas, photo, scene, modes, weight) {
    const gl = canvas.getContext("webgl2", { antialias: true, alpha: false });
    if (!gl) throw new Error("no WebGL2");
    Object.assign(this, { canvas, gl, scene });
    const count = scene.scales.length;
    const program = this.program(
      document.getElementById("vertex").textContent.trim().replaceAll("MODES", count),
      document.getElementById("fragment").textContent.trim(),
    );
    gl.useProgram(program);
    this.at = (name) => gl.getUniformLocation(program, name);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.texture(0, "photo", gl.TEXTURE_2D, gl.MIRRORED_REPEAT, () => {
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, photo);
      gl.generateMipmap(gl.TEXTURE_2D);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    });
    const [w, h] = [scene.width, scene.height];
    this.texture(1, "modes", gl.TEXTURE_2D_ARRAY, gl.CLAMP_TO_EDGE, () =>
      gl.texImage3D(gl.TEXTURE_2D_ARRAY, 0, gl.RGBA8, w, h, count, 0, gl.RGBA, gl.UNSIGNED_BYTE, modes));
    this.texture(2, "weight", gl.TEXTURE_2D, gl.CLAMP_TO_EDGE, () =>
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.R8, w, h, 0, gl.RED, gl.UNSIGNED_BYTE, weight));
    gl.uniform2f(this.at("size"), w, h);
    this.mesh(program, Math.round(w * (1 + 2 * MARGIN)), Math.round(h * (1 + 2 * MARGIN)));
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LEQUAL);
    gl.clearColor(0, 0, 0, 1);
  }

  program(vertex, fragment) {
    const gl = this.gl;
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) console.error(gl.getShaderInfoLog(shader));
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost())
      throw new Error(`shaders: ${gl.getProgramInfoLog(program)}`);
    return program;
  }

  texture(unit, name, target, wrap, upload) {
    const gl = this.gl;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(target, gl.createTexture());
    for (const axis of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(target, axis, wrap);
    for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(target, filter, gl.LINEAR);
    upload();
    gl.uniform1i(this.at(name), unit);
  }

  /** A grid over the picture and its margin. */
  mesh(program, columns, rows) {
    const gl = this.gl;
    const places = new Float32Array(2 * (columns + 1) * (rows + 1));
    for (let y = 0, i = 0; y <= rows; y++)
      for (let x = 0; x <= columns; x++) {
        places[i++] = (x / columns) * (1 + 2 * MARGIN) - MARGIN;
        places[i++] = (y / rows) * (1 + 2 * MARGIN) - MARGIN;
      }
    const corners = new Uint32Array(6 * columns * rows);
    for (let y = 0, i = 0; y < rows; y++)
      for (let x = 0; x < columns; x++, i += 6) {
        const first = y * (columns + 1) + x;
        const below = first + columns + 1;
        corners.set([first, first + 1, below, below, first + 1, below + 1], i);
      }
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, places, gl.STATIC_DRAW);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, corners, gl.STATIC_DRAW);
    const place = gl.getAttribLocation(program, "place");
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 2, gl.FLOAT, false, 0, 0);
    this.corners = corners.length;
  }

  /** Shows the picture displaced by the modal coordinates `q`; `hint` from 0 to 1 dims what stands still. */
  draw(q, hint) {
    const { gl, canvas, scene } = this;
    const density = Math.min(window.devicePixelRatio || 1, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * density));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    gl.viewport(0, 0, width, height);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniform2fv(this.at("coordinates"), Float32Array.from(q, (value, i) => value * scene.scales[i >> 1]));
    gl.uniform1f(this.at("hint"), hint);
    gl.drawElements(gl.TRIANGLES, this.corners, gl.UNSIGNED_INT, 0);
  }
}
