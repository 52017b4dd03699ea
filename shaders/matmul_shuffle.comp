// y = x w^T, the same for subgroups that shuffle: see matmul.glsl.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#define VEC4
#define SHUFFLE
#include "matmul.glsl"
