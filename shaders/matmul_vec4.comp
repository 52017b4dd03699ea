// y = x w^T, row lengths that are multiples of 4: see matmul.glsl.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define VEC4
#include "matmul.glsl"
