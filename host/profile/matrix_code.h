// SPIR-V that multiplies cooperative matrices of one shape and does nothing else, made word by
// word: compilers of GLSL know such matrices only lately, and a module is needed for each shape and
// type. Not an assembler.
#ifndef STRATA_PROFILE_MATRIX_CODE_H
#define STRATA_PROFILE_MATRIX_CODE_H

#include "gpu/gpu.h"

enum {
    MATRIX_CHAINS = 4, // sums of a subgroup that do not wait for each other
    MATRIX_LINKS = 4,  // products that a step adds to each
    MATRIX_SLOTS = 16, // workgroups that store to places of their own
    MATRIX_FIRST = 64, // where in the results the sums begin
};

// Whether there is code for the shape: f16, f32 and integers of 8 and 32 bits, sums of one type.
bool matrix_known(const GpuMatrixShape *shape);
// The code for a shape, malloc'ed: (*count). It stands in the place of peak_arithmetic.comp: the
// same tensors, arguments and constants; results (1) become how many subgroups a workgroup has,
// f32, and from MATRIX_FIRST on sums. NULL: out of memory, or a type that is not f16, f32 or an
// integer of 8 or 32 bits, or sums of two types.
uint32_t *matrix_code(const GpuMatrixShape *shape, size_t *count);
// How many f32 the results are.
uint64_t matrix_results(const GpuMatrixShape *shape);

#endif
