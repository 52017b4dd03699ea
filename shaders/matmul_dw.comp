// dw += dy^T x, any shape, any device: see matmul_dw.glsl.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "matmul_dw.glsl"
