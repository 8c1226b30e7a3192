#version 300 es
// The picture's colour; with the hint, what stands still steps back.
precision mediump float;

uniform sampler2D photo;
uniform float hint;  // 0 to 1
in vec2 texel;
in float moving;
out vec4 colour;

void main() {
  vec3 shown = texture(photo, texel).rgb;
  vec3 back = 0.45 * vec3(dot(shown, vec3(0.299, 0.587, 0.114))) + 0.04;
  colour = vec4(mix(shown, back, hint * (1.0 - smoothstep(0.12, 0.4, moving))), 1.0);
}
