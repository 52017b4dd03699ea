// What a module says of its workgroup: how many invocations, and how much memory they share, once
// its specialization constants are known. Source: the SPIR-V specification, sections 3.6, 3.20,
// 3.21 and 3.52. Sizes are those of the values; a driver may add padding.
#include "gpu/internal.h"

#include <stdlib.h>

enum {
    OP_EXECUTION_MODE = 16,
    OP_TYPE_BOOL = 20,
    OP_TYPE_INT = 21,
    OP_TYPE_FLOAT = 22,
    OP_TYPE_VECTOR = 23,
    OP_TYPE_MATRIX = 24,
    OP_TYPE_ARRAY = 28,
    OP_TYPE_STRUCT = 30,
    OP_TYPE_POINTER = 32,
    OP_CONSTANT_TRUE = 41,
    OP_CONSTANT = 43,
    OP_CONSTANT_COMPOSITE = 44,
    OP_SPEC_TRUE = 48,
    OP_SPEC_FALSE = 49,
    OP_SPEC_CONSTANT = 50,
    OP_SPEC_COMPOSITE = 51,
    OP_SPEC_OP = 52,
    OP_FUNCTION = 54,
    OP_VARIABLE = 59,
    OP_DECORATE = 71,
    OP_COMPOSITE_EXTRACT = 81,
    OP_SELECT = 169,
    OP_EXECUTION_MODE_ID = 331,
    MODE_LOCAL_SIZE = 17,
    MODE_LOCAL_SIZE_ID = 38,
    DECORATION_SPEC_ID = 1,
    DECORATION_BUILTIN = 11,
    BUILTIN_GROUP_SIZE = 25,
    WORKGROUP = 4, // storage class
    DEEPEST = 64,  // of types and expressions within each other; no compiler makes such
};

typedef struct {
    const uint32_t **defined; // (bound) the instruction that makes an id, or NULL
    uint32_t *spec_ids;       // (bound) + 1; 0: none
    uint32_t bound;
    const uint32_t *constants; // (GPU_CONSTANTS)
    const uint32_t *local;     // the execution mode that gives the size, or NULL
    uint32_t group_size;       // the id that does, or 0
    bool unknown;              // something here is not understood
} Module;

static uint32_t opcode(const uint32_t *w)
{
    return w[0] & 0xffff;
}

static uint32_t length(const uint32_t *w)
{
    return w[0] >> 16;
}

// Types name their id in the first operand; constants and variables in the second.
static uint32_t result_id(const uint32_t *w)
{
    uint32_t op = opcode(w);
    bool type = op >= OP_TYPE_BOOL && op <= OP_TYPE_POINTER && length(w) > 1;
    bool value = (op >= OP_CONSTANT_TRUE && op <= OP_SPEC_OP) || op == OP_VARIABLE;
    return type ? w[1] : value && length(w) > 2 ? w[2] : 0;
}

static void note_decoration(Module *module, const uint32_t *w)
{
    if (length(w) != 4 || w[1] >= module->bound) return;
    if (w[2] == DECORATION_SPEC_ID) module->spec_ids[w[1]] = w[3] + 1;
    if (w[2] == DECORATION_BUILTIN && w[3] == BUILTIN_GROUP_SIZE) module->group_size = w[1];
}

// Everything global stands in front of the first function.
static void scan(Module *module, const uint32_t *words, size_t count)
{
    for (size_t at = 5; at < count;) {
        const uint32_t *w = words + at;
        if (!length(w) || length(w) > count - at || opcode(w) == OP_FUNCTION) return;
        uint32_t id = result_id(w);
        if (id && id < module->bound) module->defined[id] = w;
        if (opcode(w) == OP_DECORATE) note_decoration(module, w);
        bool mode = opcode(w) == OP_EXECUTION_MODE || opcode(w) == OP_EXECUTION_MODE_ID;
        if (mode && length(w) == 6 && (w[2] == MODE_LOCAL_SIZE || w[2] == MODE_LOCAL_SIZE_ID))
            module->local = w;
        at += length(w);
    }
}

// The instruction of an id, at least `words` long; NULL (and unknown) where there is none.
static const uint32_t *definition(Module *module, uint32_t id, uint32_t words)
{
    const uint32_t *w = id < module->bound ? module->defined[id] : NULL;
    if (w && length(w) >= words && !module->unknown) return w; // what is damaged ends at once
    module->unknown = true;
    return NULL;
}

// ---- constants ---------------------------------------------------------------------------------

static uint32_t arithmetic(Module *module, uint32_t op, uint32_t a, uint32_t b)
{
    int32_t i = (int32_t)a, j = (int32_t)b;
    switch (op) {
    case 128:
        return a + b;
    case 130:
        return a - b;
    case 132:
        return a * b;
    case 134:
        return b ? a / b : 0;
    case 135:
        return !b ? 0 : b == UINT32_MAX ? 0 - a : (uint32_t)(i / j);
    case 137:
        return b ? a % b : 0;
    case 166:
        return a || b;
    case 167:
        return a && b;
    case 170:
        return a == b;
    case 171:
        return a != b;
    case 172:
        return a > b;
    case 173:
        return i > j;
    case 174:
        return a >= b;
    case 175:
        return i >= j;
    case 176:
        return a < b;
    case 177:
        return i < j;
    case 178:
        return a <= b;
    case 179:
        return i <= j;
    case 194:
        return a >> (b & 31);
    case 196:
        return a << (b & 31);
    case 197:
        return a | b;
    case 198:
        return a ^ b;
    case 199:
        return a & b;
    default:
        module->unknown = true;
        return 0;
    }
}

static uint32_t evaluate(Module *module, uint32_t id, uint32_t depth);

// Constituent `index` of a composite constant.
static uint32_t constituent(Module *module, uint32_t id, uint32_t index, uint32_t depth)
{
    const uint32_t *w = definition(module, id, 4);
    if (!w) return 0;
    bool composite = opcode(w) == OP_CONSTANT_COMPOSITE || opcode(w) == OP_SPEC_COMPOSITE;
    if (composite && index < length(w) - 3) return evaluate(module, w[3 + index], depth + 1);
    module->unknown = true;
    return 0;
}

// w: OpSpecConstantOp type id op operands.
static uint32_t evaluate_operation(Module *module, const uint32_t *w, uint32_t depth)
{
    if (length(w) == 6 && w[3] == OP_COMPOSITE_EXTRACT)
        return constituent(module, w[4], w[5], depth);
    if (length(w) == 7 && w[3] == OP_SELECT)
        return evaluate(module, evaluate(module, w[4], depth + 1) ? w[5] : w[6], depth + 1);
    if (length(w) == 5 && w[3] == 168) return !evaluate(module, w[4], depth + 1);
    if (length(w) == 6)
        return arithmetic(module, w[3], evaluate(module, w[4], depth + 1),
                          evaluate(module, w[5], depth + 1));
    module->unknown = true;
    return 0;
}

// The value of a constant of 32 bits, or bool.
static uint32_t evaluate(Module *module, uint32_t id, uint32_t depth)
{
    const uint32_t *w = definition(module, id, 3);
    if (!w || depth > DEEPEST) {
        module->unknown = true;
        return 0;
    }
    uint32_t spec = module->spec_ids[id], op = opcode(w);
    bool settable = op >= OP_SPEC_TRUE && op <= OP_SPEC_CONSTANT;
    if (settable && spec && spec <= GPU_CONSTANTS) return module->constants[spec - 1];
    if (op == OP_CONSTANT_TRUE || op == OP_SPEC_TRUE) return 1;
    if (op == OP_CONSTANT_TRUE + 1 || op == OP_SPEC_FALSE) return 0;
    if ((op == OP_CONSTANT || op == OP_SPEC_CONSTANT) && length(w) == 4) return w[3];
    if (op == OP_SPEC_OP && length(w) >= 5) return evaluate_operation(module, w, depth);
    module->unknown = true;
    return 0;
}

// ---- types -------------------------------------------------------------------------------------

static uint64_t type_bytes(Module *module, uint32_t id, uint32_t depth)
{
    const uint32_t *w = definition(module, id, 2);
    uint64_t sum = 0;
    if (!w || depth > DEEPEST || (opcode(w) != OP_TYPE_BOOL && length(w) < 3)) {
        module->unknown = true;
        return 0;
    }
    switch (opcode(w)) {
    case OP_TYPE_BOOL:
        return 4;
    case OP_TYPE_INT:
    case OP_TYPE_FLOAT:
        return w[2] / 8;
    case OP_TYPE_VECTOR:
    case OP_TYPE_MATRIX:
        return length(w) > 3 ? w[3] * type_bytes(module, w[2], depth + 1) : 0;
    case OP_TYPE_ARRAY:
        return length(w) > 3 ? evaluate(module, w[3], 0) * type_bytes(module, w[2], depth + 1) : 0;
    case OP_TYPE_STRUCT:
        for (uint32_t i = 2; i < length(w); i++) sum += type_bytes(module, w[i], depth + 1);
        return sum;
    default:
        module->unknown = true;
        return 0;
    }
}

static uint64_t shared_bytes(Module *module)
{
    uint64_t sum = 0;
    for (uint32_t id = 0; id < module->bound; id++) {
        const uint32_t *w = module->defined[id];
        if (!w || opcode(w) != OP_VARIABLE || length(w) < 4 || w[3] != WORKGROUP) continue;
        const uint32_t *pointer = definition(module, w[1], 4);
        if (pointer) sum += type_bytes(module, pointer[3], 0);
    }
    return sum;
}

static uint32_t group_lanes(Module *module)
{
    uint32_t lanes = 1;
    if (!module->group_size && !module->local) module->unknown = true;
    for (uint32_t axis = 0; axis < 3 && !module->unknown; axis++) {
        if (module->group_size)
            lanes *= constituent(module, module->group_size, axis, 0);
        else if (module->local[2] == MODE_LOCAL_SIZE)
            lanes *= module->local[3 + axis];
        else
            lanes *= evaluate(module, module->local[3 + axis], 0);
    }
    return lanes;
}

bool spirv_group(SpirvGroup *group, const uint32_t *words, size_t count, const uint32_t *constants)
{
    *group = (SpirvGroup){0};
    if (count < 5 || words[0] != 0x07230203 || words[3] >= 1u << 22) return false;
    Module module = {.bound = words[3], .constants = constants};
    module.defined = calloc(module.bound + 1, sizeof *module.defined);
    module.spec_ids = calloc(module.bound + 1, sizeof *module.spec_ids);
    bool ok = module.defined && module.spec_ids;
    if (ok) {
        scan(&module, words, count);
        group->lanes = group_lanes(&module);
        group->shared_bytes = shared_bytes(&module);
        ok = !module.unknown;
    }
    free(module.defined);
    free(module.spec_ids);
    return ok;
}
