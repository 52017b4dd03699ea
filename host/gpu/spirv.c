// A short scan of SPIR-V: which storage buffers a module reads and writes, from the decorations
// NonWritable and NonReadable, which tensors it sees as texel views, and which capabilities it
// names that a device may lack. Source: the SPIR-V specification, sections 2.3, 3.7, 3.20, 3.31
// and 3.32.
#include "gpu/internal.h"

#include <stdlib.h>

enum {
    OP_CAPABILITY = 17,
    OP_TYPE_POINTER = 32,
    OP_VARIABLE = 59,
    OP_DECORATE = 71,
    OP_MEMBER_DECORATE = 72,
    DECORATION_NON_WRITABLE = 24,
    DECORATION_NON_READABLE = 25,
    DECORATION_BINDING = 33,
    UNIFORM_CONSTANT = 0, // images; of these we have texel views alone
    STORAGE_BUFFER = 12,
    NO_VARIABLE = -1,
};

// The capabilities that a device of the floor lacks.
static uint32_t need_of(uint32_t capability)
{
    switch (capability) {
    case 9: // Float16
        return NEEDS_FLOAT16;
    case 39: // Int8
        return NEEDS_INT8;
    case 6018: // DotProductInput4x8BitPacked
    case 6019: // DotProduct
        return NEEDS_DOT;
    case 6022: // CooperativeMatrixKHR
        return NEEDS_MATRIX;
    default:
        return 0;
    }
}

// Capabilities come first in a module.
static uint32_t scan_needs(const uint32_t *words, size_t count)
{
    uint32_t needs = 0;
    for (size_t at = 5; at + 1 < count && words[at] == (2u << 16 | OP_CAPABILITY); at += 2)
        needs |= need_of(words[at + 1]);
    return needs;
}

// What is known of one id.
typedef struct {
    uint32_t binding; // + 1; 0: none
    uint32_t type;    // of a variable: its pointer type; of a pointer type: what it points to
    bool non_writable, non_readable;
    int storage; // a variable's storage class
} Id;

static void decorate(Id *id, const uint32_t *operands)
{
    if (operands[0] == DECORATION_BINDING) id->binding = operands[1] + 1;
    if (operands[0] == DECORATION_NON_WRITABLE) id->non_writable = true;
    if (operands[0] == DECORATION_NON_READABLE) id->non_readable = true;
}

static void scan(Id *ids, uint32_t bound, const uint32_t *words, size_t count)
{
    for (size_t at = 5; at < count;) {
        uint32_t op = words[at] & 0xffff, length = words[at] >> 16;
        const uint32_t *w = words + at;
        if (!length || length > count - at) return;
        if (op == OP_DECORATE && length >= 3 && w[1] < bound &&
            (length > 3 || w[2] != DECORATION_BINDING))
            decorate(&ids[w[1]], w + 2);
        if (op == OP_MEMBER_DECORATE && length >= 4 && w[1] < bound && w[3] != DECORATION_BINDING)
            decorate(&ids[w[1]], w + 3); // a buffer block of ours has one member
        if (op == OP_TYPE_POINTER && length == 4 && w[1] < bound) ids[w[1]].type = w[3];
        if (op == OP_VARIABLE && length >= 4 && w[2] < bound) {
            ids[w[2]].type = w[1];
            ids[w[2]].storage = (int)w[3];
        }
        at += length;
    }
}

// What variable `i` says of its buffer; ids[bound] stands for ids that do not exist.
static void add_buffer(KernelAccess *access, const Id *ids, uint32_t bound, uint32_t i)
{
    const Id *pointer = ids[i].type < bound ? &ids[ids[i].type] : &ids[bound];
    const Id *block = pointer->type < bound ? &ids[pointer->type] : &ids[bound];
    uint32_t bit = 1u << (ids[i].binding - 1);
    if (!ids[i].non_readable && !block->non_readable) access->reads |= bit;
    if (!ids[i].non_writable && !block->non_writable) access->writes |= bit;
}

bool spirv_access(KernelAccess *access, const uint32_t *words, size_t count)
{
    *access = (KernelAccess){0};
    if (count < 5 || words[0] != 0x07230203) return false;
    uint32_t bound = words[3];
    Id *ids = bound < 1u << 22 ? calloc(bound + 1, sizeof *ids) : NULL;
    if (!ids) return false;
    for (uint32_t i = 0; i < bound; i++) ids[i].storage = NO_VARIABLE;
    scan(ids, bound, words, count);
    for (uint32_t i = 0; i < bound; i++) {
        uint32_t binding = ids[i].binding - 1; // UINT32_MAX: none
        if (ids[i].storage == STORAGE_BUFFER && binding < GPU_BINDINGS)
            add_buffer(access, ids, bound, i);
        if (ids[i].storage == UNIFORM_CONSTANT && binding - GPU_BINDINGS < GPU_BINDINGS)
            access->texels |= 1u << (binding - GPU_BINDINGS);
    }
    access->reads |= access->texels;
    access->needs = scan_needs(words, count);
    free(ids);
    return true;
}
