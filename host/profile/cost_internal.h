// What the files of host/profile/cost*.c share. Nobody else includes this.
#ifndef STRATA_PROFILE_COST_INTERNAL_H
#define STRATA_PROFILE_COST_INTERNAL_H

#include "profile/cost.h"

#include "../../shaders/args.h"

#include <assert.h>
#include <string.h>

// The push constants of a dispatch as a variable; they need not lie as the type wants.
#define COST_ARGS(Type, name, dispatch)                                                            \
    Type name;                                                                                     \
    assert((dispatch)->args_bytes == sizeof name);                                                 \
    memcpy(&name, (dispatch)->args, sizeof name)

enum { COST_SIZE = 2, COST_ADD = 2, COST_STORAGE = 5 }; // constants of the kernels

// The words of a tensor that the host sees; NULL for others and for bindings that are not used.
const uint32_t *cost_words(Tensor tensor);

// Which of `below` things are meant, a bit each.
typedef struct {
    uint32_t *words; // NULL: out of memory
    uint32_t below;
} Marks;
Marks marks_make(uint32_t below);
void marks_add(Marks *marks, uint32_t first, uint32_t last); // first .. last - 1, as far as below
uint32_t marks_count(const Marks *marks);
void marks_free(Marks *marks);

// What the names in a table come to: how many lie in from .. from + below - 1, and how many of
// these differ.
typedef struct {
    double hits, distinct;
} Named;
// Word `at` + r * stride of the table for each of `rows` rows.
Named cost_named(Tensor table, size_t at, size_t stride, uint32_t rows, uint32_t from,
                 uint32_t below);

typedef enum {
    SHAPE_PROBE,  // groups x invocations x steps, of what measures a device
    SHAPE_VALUES, // of a parameter
    SHAPE_ROWS,   // rows x columns; from here on kernels work on rows of a step
    SHAPE_PARTS,  // rows x parts x columns
    SHAPE_PRODUCT,
    SHAPE_TURNS, // rows x heads x size, of rope
    SHAPE_HEADS, // of rope_cache
    SHAPE_ATTENTION,
} CostShape;

// What is known of the kernels of a file.
typedef struct {
    const char *file; // shaders/FILE.comp
    CostRule *rule;   // of rows above 0
    CostShape shape;
    int storage; // the binding whose storage type its shape names; below 0: none
} CostKernel;
const CostKernel *cost_kernel(Kernel kernel); // NULL: nothing

CostRule cost_embed, cost_embed_back, cost_gather, cost_scatter, cost_rope, cost_rope_cache;
CostRule cost_peak_arithmetic, cost_peak_copy, cost_peak_empty;
CostRule cost_attention, cost_attention_paged, cost_attention_back_q, cost_attention_back_kv;

#endif
