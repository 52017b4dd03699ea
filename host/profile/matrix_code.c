// See matrix_code.h. In GLSL with GL_KHR_cooperative_matrix the code is
//
//     coopmat<...> a[CHAINS], b[LINKS], c[CHAINS]; // everywhere x[2], x[3] ...
//     for (uint s = 0; s < args.steps; s++) {
//         for (l < LINKS) for (i < CHAINS) c[i] = coopMatMulAdd(a[(i + l) % CHAINS], b[l], c[i]);
//         for (i < CHAINS) a[i] = -a[i];
//     }
//     for (i < CHAINS) coopMatStore(c[i], y, FIRST + (workgroup % SLOTS * CHAINS + i) * m * n, n);
//     y[0] = gl_NumSubgroups;
//
// No product occurs twice in a step, nor in two steps that follow, nor do products of a sum share a
// factor: on CPU drivers they are code like any other, which compilers share, move out of the loop,
// and (of integers) factor out.
//
// Source: the SPIR-V specification; SPV_KHR_cooperative_matrix for what is numbered from 4456 on.
#include "profile/matrix_code.h"

#include <stdlib.h>
#include <string.h>

enum {
    OP_EXTENSION = 10,
    OP_MEMORY_MODEL = 14,
    OP_ENTRY_POINT = 15,
    OP_EXECUTION_MODE = 16,
    OP_CAPABILITY = 17,
    OP_TYPE_VOID = 19,
    OP_TYPE_BOOL = 20,
    OP_TYPE_INT = 21,
    OP_TYPE_FLOAT = 22,
    OP_TYPE_VECTOR = 23,
    OP_TYPE_RUNTIME_ARRAY = 29,
    OP_TYPE_STRUCT = 30,
    OP_TYPE_POINTER = 32,
    OP_TYPE_FUNCTION = 33,
    OP_CONSTANT = 43,
    OP_SPEC_CONSTANT = 50,
    OP_SPEC_CONSTANT_COMPOSITE = 51,
    OP_FUNCTION = 54,
    OP_FUNCTION_END = 56,
    OP_VARIABLE = 59,
    OP_LOAD = 61,
    OP_STORE = 62,
    OP_ACCESS_CHAIN = 65,
    OP_DECORATE = 71,
    OP_MEMBER_DECORATE = 72,
    OP_COMPOSITE_CONSTRUCT = 80,
    OP_COMPOSITE_EXTRACT = 81,
    OP_CONVERT_F_TO_U = 109,
    OP_CONVERT_F_TO_S = 110,
    OP_CONVERT_U_TO_F = 112,
    OP_F_CONVERT = 115,
    OP_S_NEGATE = 126,
    OP_F_NEGATE = 127,
    OP_I_ADD = 128,
    OP_I_MUL = 132,
    OP_U_LESS_THAN = 176,
    OP_BITWISE_AND = 199,
    OP_LOOP_MERGE = 246,
    OP_LABEL = 248,
    OP_BRANCH = 249,
    OP_BRANCH_CONDITIONAL = 250,
    OP_RETURN = 253,
    OP_TYPE_MATRIX = 4456,
    OP_MATRIX_STORE = 4458,
    OP_MATRIX_MUL_ADD = 4459,

    INPUT = 1, // storage classes
    FUNCTION = 7,
    PUSH_CONSTANT = 9,
    STORAGE_BUFFER = 12,

    SUBGROUP = 3, // scope
};

// Ids that the module names by themselves; those of values come behind.
enum {
    MAIN = 1,
    VOID,
    PROCEDURE,
    BOOL,
    F32,
    U32,
    F16,
    S8,
    U8,
    S32,
    VECTOR3,
    POINTER_VECTOR3,
    POINTER_INPUT_U32,
    POINTER_FUNCTION_U32,
    ARRAY,
    STRUCT_X,
    STRUCT_Y,
    STRUCT_PUSH,
    POINTER_X,
    POINTER_Y,
    POINTER_PUSH,
    POINTER_BUFFER_F32,
    POINTER_PUSH_U32,
    X,
    Y,
    PUSH,
    WORKGROUP,
    SUBGROUPS,
    GROUP_SIZE,
    WORKGROUP_SIZE,
    MATRIX_A,
    MATRIX_B,
    MATRIX_C,
    POINTER_A,
    POINTER_C,
    COUNTER,
    LEFT, // one for each chain
    SUM = LEFT + MATRIX_CHAINS,
    INDEX = SUM + MATRIX_CHAINS, // of x, for each of a and b
    ZERO = INDEX + MATRIX_CHAINS + MATRIX_LINKS,
    ONE,
    TWO,
    THREE,
    M,
    N,
    K,
    MASK,
    SIZE, // m n, of a stored sum
    SLOT, // of a workgroup's
    FIRST,
    ENTRY,
    HEAD,
    TEST,
    BODY,
    NEXT,
    END,
    VALUES,
};

typedef struct {
    uint32_t *words; // (count)
    size_t count, room;
    bool failed;
    uint32_t bound; // the next id
} Code;

static void put(Code *code, uint32_t word)
{
    if (code->count == code->room) {
        size_t room = code->room ? 2 * code->room : 512;
        uint32_t *words = realloc(code->words, room * sizeof *words);
        if (!words) {
            code->failed = true;
            return;
        }
        code->words = words;
        code->room = room;
    }
    code->words[code->count++] = word;
}

static void put_list(Code *code, uint32_t op, const uint32_t *operands, size_t count)
{
    put(code, (uint32_t)(count + 1) << 16 | op);
    for (size_t i = 0; i < count; i++) put(code, operands[i]);
}

#define PUT(code, op, ...)                                                                         \
    put_list(code, op, (const uint32_t[]){__VA_ARGS__},                                            \
             sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

// An instruction with a result: type, id, operands. Gives the id.
#define VALUE(code, op, type, ...)                                                                 \
    (PUT(code, op, type, (code)->bound, __VA_ARGS__), (code)->bound++)

// op, `before` (count), the text, `after` (after_count).
static void put_text(Code *code, uint32_t op, const uint32_t *before, size_t count,
                     const char *text, const uint32_t *after, size_t after_count)
{
    uint32_t words[16] = {0};
    size_t length = strlen(text) / 4 + 1; // with its NUL
    memcpy(words, text, strlen(text));
    put(code, (uint32_t)(1 + count + length + after_count) << 16 | op);
    for (size_t i = 0; i < count; i++) put(code, before[i]);
    for (size_t i = 0; i < length; i++) put(code, words[i]);
    for (size_t i = 0; i < after_count; i++) put(code, after[i]);
}

// ---- types -------------------------------------------------------------------------------------

static uint32_t type_id(const char *name)
{
    static const struct {
        const char *name;
        uint32_t id;
    } types[] = {{"f16", F16}, {"f32", F32}, {"s8", S8}, {"u8", U8}, {"s32", S32}, {"u32", U32}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(name, types[i].name)) return types[i].id;
    return 0;
}

static bool uses(const GpuMatrixShape *shape, uint32_t id)
{
    return type_id(shape->a) == id || type_id(shape->b) == id || type_id(shape->c) == id;
}

static void put_capabilities(Code *code, const GpuMatrixShape *shape)
{
    PUT(code, OP_CAPABILITY, 1);    // Shader
    PUT(code, OP_CAPABILITY, 61);   // GroupNonUniform, for the number of subgroups
    PUT(code, OP_CAPABILITY, 5345); // VulkanMemoryModel
    PUT(code, OP_CAPABILITY, 6022); // CooperativeMatrixKHR
    if (uses(shape, F16)) PUT(code, OP_CAPABILITY, 9);
    if (uses(shape, S8) || uses(shape, U8)) PUT(code, OP_CAPABILITY, 39);
    put_text(code, OP_EXTENSION, NULL, 0, "SPV_KHR_cooperative_matrix", NULL, 0);
    PUT(code, OP_MEMORY_MODEL, 0, 3); // logical, Vulkan
    put_text(code, OP_ENTRY_POINT, (const uint32_t[]){5, MAIN}, 2, "main",
             (const uint32_t[]){X, Y, PUSH, WORKGROUP, SUBGROUPS}, 5);
    PUT(code, OP_EXECUTION_MODE, MAIN, 17, 1, 1, 1); // LocalSize, which WORKGROUP_SIZE replaces
}

static void put_decorations(Code *code)
{
    enum { SPEC_ID = 1, BLOCK, ARRAY_STRIDE = 6, BUILT_IN = 11, NON_WRITABLE = 24 };
    enum { NON_READABLE = 25, BINDING = 33, DESCRIPTOR_SET, OFFSET };
    PUT(code, OP_DECORATE, GROUP_SIZE, SPEC_ID, 0);
    PUT(code, OP_DECORATE, WORKGROUP_SIZE, BUILT_IN, 25);
    PUT(code, OP_DECORATE, WORKGROUP, BUILT_IN, 26);
    PUT(code, OP_DECORATE, SUBGROUPS, BUILT_IN, 38);
    PUT(code, OP_DECORATE, ARRAY, ARRAY_STRIDE, 4);
    const uint32_t structs[] = {STRUCT_X, STRUCT_Y, STRUCT_PUSH};
    for (int i = 0; i < 3; i++) {
        PUT(code, OP_DECORATE, structs[i], BLOCK);
        PUT(code, OP_MEMBER_DECORATE, structs[i], 0, OFFSET, 0);
    }
    PUT(code, OP_MEMBER_DECORATE, STRUCT_X, 0, NON_WRITABLE);
    PUT(code, OP_MEMBER_DECORATE, STRUCT_Y, 0, NON_READABLE);
    PUT(code, OP_DECORATE, X, DESCRIPTOR_SET, 0);
    PUT(code, OP_DECORATE, X, BINDING, 0);
    PUT(code, OP_DECORATE, Y, DESCRIPTOR_SET, 0);
    PUT(code, OP_DECORATE, Y, BINDING, 1);
}

static void put_scalars(Code *code, const GpuMatrixShape *shape)
{
    PUT(code, OP_TYPE_VOID, VOID);
    PUT(code, OP_TYPE_FUNCTION, PROCEDURE, VOID);
    PUT(code, OP_TYPE_BOOL, BOOL);
    PUT(code, OP_TYPE_FLOAT, F32, 32);
    PUT(code, OP_TYPE_INT, U32, 32, 0);
    if (uses(shape, F16)) PUT(code, OP_TYPE_FLOAT, F16, 16);
    if (uses(shape, S8)) PUT(code, OP_TYPE_INT, S8, 8, 1);
    if (uses(shape, U8)) PUT(code, OP_TYPE_INT, U8, 8, 0);
    if (uses(shape, S32)) PUT(code, OP_TYPE_INT, S32, 32, 1);
}

static void put_constants(Code *code, const GpuMatrixShape *shape)
{
    const uint32_t size = shape->m * shape->n;
    const uint32_t constants[][2] = {
        {ZERO, 0},
        {ONE, 1},
        {TWO, 2},
        {THREE, 3},
        {M, shape->m},
        {N, shape->n},
        {K, shape->k},
        {SIZE, size},
        {SLOT, MATRIX_CHAINS * size},
        {MASK, MATRIX_SLOTS - 1},
        {FIRST, MATRIX_FIRST},
    };
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        PUT(code, OP_CONSTANT, U32, constants[i][0], constants[i][1]);
    for (uint32_t i = 0; i < MATRIX_CHAINS + MATRIX_LINKS; i++)
        PUT(code, OP_CONSTANT, U32, INDEX + i, 2 + i);
    PUT(code, OP_SPEC_CONSTANT, U32, GROUP_SIZE, 32);
    PUT(code, OP_TYPE_VECTOR, VECTOR3, U32, 3);
    PUT(code, OP_SPEC_CONSTANT_COMPOSITE, VECTOR3, WORKGROUP_SIZE, GROUP_SIZE, ONE, ONE);
}

static void put_types(Code *code, const GpuMatrixShape *shape)
{
    put_scalars(code, shape);
    put_constants(code, shape);
    PUT(code, OP_TYPE_POINTER, POINTER_VECTOR3, INPUT, VECTOR3);
    PUT(code, OP_TYPE_POINTER, POINTER_INPUT_U32, INPUT, U32);
    PUT(code, OP_TYPE_POINTER, POINTER_FUNCTION_U32, FUNCTION, U32);
    PUT(code, OP_TYPE_RUNTIME_ARRAY, ARRAY, F32);
    PUT(code, OP_TYPE_STRUCT, STRUCT_X, ARRAY);
    PUT(code, OP_TYPE_STRUCT, STRUCT_Y, ARRAY);
    PUT(code, OP_TYPE_STRUCT, STRUCT_PUSH, U32); // of PeakArgs the steps
    PUT(code, OP_TYPE_POINTER, POINTER_X, STORAGE_BUFFER, STRUCT_X);
    PUT(code, OP_TYPE_POINTER, POINTER_Y, STORAGE_BUFFER, STRUCT_Y);
    PUT(code, OP_TYPE_POINTER, POINTER_PUSH, PUSH_CONSTANT, STRUCT_PUSH);
    PUT(code, OP_TYPE_POINTER, POINTER_BUFFER_F32, STORAGE_BUFFER, F32);
    PUT(code, OP_TYPE_POINTER, POINTER_PUSH_U32, PUSH_CONSTANT, U32);
    PUT(code, OP_VARIABLE, POINTER_X, X, STORAGE_BUFFER);
    PUT(code, OP_VARIABLE, POINTER_Y, Y, STORAGE_BUFFER);
    PUT(code, OP_VARIABLE, POINTER_PUSH, PUSH, PUSH_CONSTANT);
    PUT(code, OP_VARIABLE, POINTER_VECTOR3, WORKGROUP, INPUT);
    PUT(code, OP_VARIABLE, POINTER_INPUT_U32, SUBGROUPS, INPUT);
    PUT(code, OP_TYPE_MATRIX, MATRIX_A, type_id(shape->a), THREE, M, K, ZERO);
    PUT(code, OP_TYPE_MATRIX, MATRIX_B, type_id(shape->b), THREE, K, N, ONE);
    PUT(code, OP_TYPE_MATRIX, MATRIX_C, type_id(shape->c), THREE, M, N, TWO);
    PUT(code, OP_TYPE_POINTER, POINTER_A, FUNCTION, MATRIX_A);
    PUT(code, OP_TYPE_POINTER, POINTER_C, FUNCTION, MATRIX_C);
}

// ---- main --------------------------------------------------------------------------------------

// A matrix of x[index] everywhere; index is the id of a constant.
static uint32_t put_splat(Code *code, uint32_t matrix, const char *type, uint32_t index)
{
    uint32_t at = VALUE(code, OP_ACCESS_CHAIN, POINTER_BUFFER_F32, X, ZERO, index);
    uint32_t value = VALUE(code, OP_LOAD, F32, at);
    uint32_t id = type_id(type), op = OP_F_CONVERT;
    if (id == S8 || id == S32) op = OP_CONVERT_F_TO_S;
    if (id == U8 || id == U32) op = OP_CONVERT_F_TO_U;
    if (id != F32) value = VALUE(code, op, id, value);
    return VALUE(code, OP_COMPOSITE_CONSTRUCT, matrix, value);
}

// Which operands are signed, and whether sums saturate (Cooperative Matrix Operands).
static uint32_t operand_flags(const GpuMatrixShape *shape)
{
    uint32_t flags = shape->saturating ? 16 : 0;
    if (shape->a[0] == 's') flags |= 1;
    if (shape->b[0] == 's') flags |= 2;
    if (shape->c[0] == 's') flags |= 4 | 8;
    return flags;
}

// One step: every a with every b, each product in one sum, of which no two have a common factor;
// then every a changes its sign.
static void put_step(Code *code, const GpuMatrixShape *shape, const uint32_t *b)
{
    uint32_t a[MATRIX_CHAINS], flags = operand_flags(shape);
    uint32_t negate = shape->a[0] == 'f' ? OP_F_NEGATE : OP_S_NEGATE;
    for (uint32_t i = 0; i < MATRIX_CHAINS; i++) a[i] = VALUE(code, OP_LOAD, MATRIX_A, LEFT + i);
    for (uint32_t l = 0; l < MATRIX_LINKS; l++)
        for (uint32_t i = 0; i < MATRIX_CHAINS; i++) {
            uint32_t sum = VALUE(code, OP_LOAD, MATRIX_C, SUM + i);
            sum = VALUE(code, OP_MATRIX_MUL_ADD, MATRIX_C, a[(i + l) % MATRIX_CHAINS], b[l], sum,
                        flags);
            PUT(code, OP_STORE, SUM + i, sum);
        }
    for (uint32_t i = 0; i < MATRIX_CHAINS; i++) {
        uint32_t negative = VALUE(code, negate, MATRIX_A, a[i]);
        PUT(code, OP_STORE, LEFT + i, negative);
    }
}

static void put_loop(Code *code, const GpuMatrixShape *shape, const uint32_t *b)
{
    uint32_t at = VALUE(code, OP_ACCESS_CHAIN, POINTER_PUSH_U32, PUSH, ZERO);
    uint32_t steps = VALUE(code, OP_LOAD, U32, at);
    PUT(code, OP_STORE, COUNTER, ZERO);
    PUT(code, OP_BRANCH, HEAD);
    PUT(code, OP_LABEL, HEAD);
    PUT(code, OP_LOOP_MERGE, END, NEXT, 0);
    PUT(code, OP_BRANCH, TEST);
    PUT(code, OP_LABEL, TEST);
    uint32_t step = VALUE(code, OP_LOAD, U32, COUNTER);
    uint32_t more = VALUE(code, OP_U_LESS_THAN, BOOL, step, steps);
    PUT(code, OP_BRANCH_CONDITIONAL, more, BODY, END);
    PUT(code, OP_LABEL, BODY);
    put_step(code, shape, b);
    PUT(code, OP_BRANCH, NEXT);
    PUT(code, OP_LABEL, NEXT);
    step = VALUE(code, OP_LOAD, U32, COUNTER);
    step = VALUE(code, OP_I_ADD, U32, step, ONE);
    PUT(code, OP_STORE, COUNTER, step);
    PUT(code, OP_BRANCH, HEAD);
    PUT(code, OP_LABEL, END);
}

static void put_results(Code *code)
{
    uint32_t at = VALUE(code, OP_LOAD, VECTOR3, WORKGROUP);
    at = VALUE(code, OP_COMPOSITE_EXTRACT, U32, at, 0);
    at = VALUE(code, OP_BITWISE_AND, U32, at, MASK);
    at = VALUE(code, OP_I_MUL, U32, at, SLOT);
    at = VALUE(code, OP_I_ADD, U32, at, FIRST);
    for (uint32_t i = 0; i < MATRIX_CHAINS; i++) {
        uint32_t to = VALUE(code, OP_ACCESS_CHAIN, POINTER_BUFFER_F32, Y, ZERO, at);
        uint32_t sum = VALUE(code, OP_LOAD, MATRIX_C, SUM + i);
        PUT(code, OP_MATRIX_STORE, to, sum, ZERO, N); // row-major
        at = VALUE(code, OP_I_ADD, U32, at, SIZE);
    }
    uint32_t to = VALUE(code, OP_ACCESS_CHAIN, POINTER_BUFFER_F32, Y, ZERO, ZERO);
    uint32_t count = VALUE(code, OP_LOAD, U32, SUBGROUPS);
    count = VALUE(code, OP_CONVERT_U_TO_F, F32, count);
    PUT(code, OP_STORE, to, count);
}

static void put_main(Code *code, const GpuMatrixShape *shape)
{
    PUT(code, OP_FUNCTION, VOID, MAIN, 0, PROCEDURE);
    PUT(code, OP_LABEL, ENTRY);
    PUT(code, OP_VARIABLE, POINTER_FUNCTION_U32, COUNTER, FUNCTION);
    for (uint32_t i = 0; i < MATRIX_CHAINS; i++) {
        PUT(code, OP_VARIABLE, POINTER_A, LEFT + i, FUNCTION);
        PUT(code, OP_VARIABLE, POINTER_C, SUM + i, FUNCTION);
    }
    uint32_t b[MATRIX_LINKS], c = put_splat(code, MATRIX_C, shape->c, TWO);
    for (uint32_t i = 0; i < MATRIX_LINKS; i++)
        b[i] = put_splat(code, MATRIX_B, shape->b, INDEX + MATRIX_CHAINS + i);
    for (uint32_t i = 0; i < MATRIX_CHAINS; i++) {
        uint32_t a = put_splat(code, MATRIX_A, shape->a, INDEX + i);
        PUT(code, OP_STORE, LEFT + i, a);
        PUT(code, OP_STORE, SUM + i, c);
    }
    put_loop(code, shape, b);
    put_results(code);
    put_list(code, OP_RETURN, NULL, 0);
    put_list(code, OP_FUNCTION_END, NULL, 0);
}

bool matrix_known(const GpuMatrixShape *shape)
{
    return type_id(shape->a) && type_id(shape->b) && type_id(shape->c) &&
           !strcmp(shape->c, shape->result);
}

uint64_t matrix_results(const GpuMatrixShape *shape)
{
    return MATRIX_FIRST + (uint64_t)MATRIX_SLOTS * MATRIX_CHAINS * shape->m * shape->n;
}

uint32_t *matrix_code(const GpuMatrixShape *shape, size_t *count)
{
    Code code = {.bound = VALUES};
    const uint32_t head[] = {0x07230203, 0x00010500, 0, 0, 0};
    for (int i = 0; i < 5; i++) put(&code, head[i]);
    put_capabilities(&code, shape);
    put_decorations(&code);
    put_types(&code, shape);
    put_main(&code, shape);
    if (code.failed) {
        free(code.words);
        return NULL;
    }
    code.words[3] = code.bound;
    *count = code.count;
    return code.words;
}
