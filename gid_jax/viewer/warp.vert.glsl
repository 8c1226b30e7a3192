#version 300 es
// A vertex of the picture's mesh goes where its modes carry it: F = Re sum_k S_k q_k.
precision highp float;
precision highp sampler2DArray;

uniform sampler2DArray modes;  // (Re x, Re y, Im x, Im y) of mode k in layer k - 1, bytes around 128
uniform sampler2D weight;      // how much each pixel moves, 0 to 1: large motion is in front
uniform vec2 coordinates[MODES];  // q_k times the scale of mode k
uniform vec2 size;             // of the spectrum, in its pixels
in vec2 place;                 // in the picture, 0 to 1, and a margin around it
out vec2 texel;
out float moving;

void main() {
  vec2 motion = vec2(0.0);
  for (int j = 0; j < MODES; j++) {
    vec4 shape = (textureLod(modes, vec3(place, float(j)), 0.0) * 255.0 - 128.0) / 127.0;
    motion += shape.xy * coordinates[j].x - shape.zw * coordinates[j].y;
  }
  moving = textureLod(weight, place, 0.0).r;
  texel = place;
  vec2 position = place + motion / size;
  gl_Position = vec4(2.0 * position.x - 1.0, 1.0 - 2.0 * position.y, 0.9 - 1.8 * moving, 1.0);
}
