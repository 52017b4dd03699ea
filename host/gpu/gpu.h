// The GPU as the rest of strata sees it: devices, memory, kernels recorded on tapes. The only part
// of the house that knows Vulkan; nothing of Vulkan shows here.
#ifndef STRATA_GPU_GPU_H
#define STRATA_GPU_GPU_H

#include "base/dtype.h"
#include "base/error.h"
#include "kernels.h"

#include <stddef.h>
#include <stdint.h>

enum {
    GPU_BINDINGS = 10,    // tensors of a kernel, at most
    GPU_ARGS_BYTES = 128, // push constants of a kernel, at most
    GPU_CONSTANTS = 6,    // specialization constants of a kernel, at most
};

// ---- devices -----------------------------------------------------------------------------------

typedef struct Gpu Gpu;

// What a device is and can do; every text is NUL-terminated.
typedef struct {
    char name[256];
    char driver[512];          // name and version, as the driver states them
    char kind[16];             // "discrete", "integrated", "virtual", "cpu" or "other"
    char vulkan[16];           // "1.3.224"
    uint64_t local_bytes;      // the largest device-local heap; of CPU drivers the host's memory
    uint64_t host_bytes;       // the largest heap that is host-visible
    uint32_t subgroup_size;    // lanes
    uint32_t shared_bytes;     // shared memory of a workgroup
    uint32_t group_lanes;      // invocations of a workgroup, at most
    uint64_t binding_bytes;    // maxStorageBufferRange
    uint64_t texel_bytes;      // what a texel view sees: maxTexelBufferElements vectors of f32
    uint64_t allocation_bytes; // maxMemoryAllocationSize
    uint32_t loop_steps;       // of all loops of an invocation together; 0: any number
    uint32_t bindings;         // storage buffers a shader may see
    bool timestamps;           // the compute queue has them
    bool float16, storage16, storage8, int64, integer_dot, cooperative_matrix;
    bool subgroup_arithmetic, subgroup_shuffle; // in compute shaders
    char problem[128];                          // why strata cannot use it; empty where it can
    bool chosen;                                // gpu_open would take it
} GpuInfo;

// Fills infos (at most max) with what is there, best first as the loader lists them, and sets
// *count. `device` chooses as in gpu_open. False: no loader, no driver, no such device.
bool gpu_list(GpuInfo *infos, size_t max, size_t *count, const char *device, Error *err);

// Opens a device. `device` is a number of gpu_list or a part of a name (case ignored); NULL: the
// environment's STRATA_DEVICE, else the most capable (discrete, integrated, virtual, CPU). With
// STRATA_SHADER_DIR set, kernels found in that folder are compiled from their GLSL now. One thread
// uses a Gpu at a time, and all that are open are on one device.
Gpu *gpu_open(const char *device, Error *err);
// Frees everything, also memory and tapes that are still open. gpu may be NULL.
void gpu_close(Gpu *gpu);
const GpuInfo *gpu_info(const Gpu *gpu);
// What tells this device with this driver from others, 42 characters of hexadecimal digits and "-":
// vendor, device, and the UUID of pipeline caches, which changes with the driver.
void gpu_identity(const Gpu *gpu, char *out, size_t size);
// Whether the device has what a kernel needs beyond the floor. One that needs more cannot be
// recorded: its tape fails.
bool gpu_has_kernel(const Gpu *gpu, Kernel kernel);
// The first thing that the kernel needs and the device lacks, "integer dot products"; NULL: nothing.
const char *gpu_kernel_lacks(const Gpu *gpu, Kernel kernel);

// A shape of VK_KHR_cooperative_matrix: result (m, n) = a (m, k) b (k, n) + c (m, n) by a subgroup.
typedef struct {
    uint32_t m, n, k;
    char a[8], b[8], c[8], result[8]; // types: "f16", "s8", "u32", "bf16", "e4m3" ...
    bool saturating;                  // sums of integers
} GpuMatrixShape;
// Fills out (at most `most`) with the shapes that the device lists; returns how many.
size_t gpu_matrix_shapes(const Gpu *gpu, GpuMatrixShape *out, size_t most);
// Whether a run or a copy failed on this device, and whether because it was lost (a reset by the
// driver's watchdog, a card that is gone). What the memory of a lost device holds is undefined,
// also what the host sees of it; every further run or copy fails, and closing does not wait.
bool gpu_failed(const Gpu *gpu);
bool gpu_lost(const Gpu *gpu);
// Work goes to the device in submissions that take no more than so many milliseconds (above 0), as
// far as earlier runs tell and as long as no single kernel takes longer. Without this call: the
// environment's STRATA_SUBMIT_MS, else 500.
void gpu_set_submit_limit(Gpu *gpu, double ms);

// What the work that is submitted from now on is for ("prompt", "draft" ...): profiles and
// debuggers show it. A string that outlives the Gpu; "" is none.
void gpu_set_phase(Gpu *gpu, const char *phase);

// Messages that the validation layer gave in this process (debug builds or STRATA_VALIDATE=1);
// each went to standard error as it came. Anything but 0 is a defect of strata.
unsigned gpu_validation_messages(void);

// ---- memory ------------------------------------------------------------------------------------

// One allocation and its hazard state. Views share it.
typedef struct Span Span;

typedef enum {
    MEMORY_DEVICE, // device-local, reached through staging
    MEMORY_HOST,   // host-visible: small tables that the host writes, results that it reads
} Memory;

// A matrix in a span, row-major. Values of less than 4 bytes are packed into words, the first in
// the lowest bits, so that no device needs storage of 8 or 16 bits; there cols is a multiple of 4.
// Of quantised types cols is a multiple of dtype_block, and a row is what gpu/blocks.h makes of its
// blocks. An open value: copy it freely.
typedef struct {
    Span *span;
    uint64_t offset; // bytes into the span, a multiple of 256
    uint32_t rows, cols;
    Dtype dtype;
} Tensor;

// A zeroed tensor in a span of its own. On failure span is NULL and err names the figure.
Tensor tensor_make_as(Gpu *gpu, Memory memory, Dtype dtype, uint32_t rows, uint32_t cols,
                      Error *err);
// The same of f32, or u32.
Tensor tensor_make(Gpu *gpu, Memory memory, uint32_t rows, uint32_t cols, Error *err);
// Gives the span back; no view of it may be used any more. A NULL span is ignored.
void tensor_free(Gpu *gpu, Tensor *tensor);
uint64_t tensor_bytes(Tensor tensor);
uint32_t tensor_texel(Tensor tensor); // bytes of a vector of its texel view
// Rows first .. first + rows - 1; their offset must be a multiple of 256 bytes.
Tensor tensor_rows(Tensor tensor, uint32_t first, uint32_t rows);
// Where the host sees a MEMORY_HOST tensor; NULL for others.
void *tensor_host(Tensor tensor);
// Copy through staging and wait; values is (rows, cols) as the tensor stores them. Not while a tape
// is being recorded.
bool tensor_upload(Gpu *gpu, Tensor tensor, const void *values, Error *err);
bool tensor_download(Gpu *gpu, Tensor tensor, void *values, Error *err);
// The same of a quantised tensor from (rows, cols) in blocks as files hold them (base/quant.h),
// dtype_bytes of them.
bool tensor_upload_blocks(Gpu *gpu, Tensor tensor, const uint8_t *blocks, Error *err);
// Bytes that tensors hold now and held at the peak, and what was taken from the device for them, in
// larger pieces that are kept.
uint64_t gpu_memory_used(const Gpu *gpu);
uint64_t gpu_memory_peak(const Gpu *gpu);
uint64_t gpu_memory_allocated(const Gpu *gpu);

// ---- counts: how many rows a step has ----------------------------------------------------------

// A few numbers that change from step to step (rows, supervised rows ...), in memory that kernels
// read, with the grids that follow from them. Tapes are recorded once for the maximum and replayed
// for any smaller count.
typedef struct Counts Counts;

enum { COUNTS_MAX = 8 };

Counts *counts_open(Gpu *gpu, Error *err);
void counts_close(Counts *counts);
// Sets a count and every grid that depends on it. Not while a tape that uses it runs.
void counts_set(Counts *counts, uint32_t slot, uint32_t value);
uint32_t counts_get(const Counts *counts, uint32_t slot);
Tensor counts_tensor(const Counts *counts); // (1, COUNTS_MAX) u32

// The number of rows of an op: what slot of counts says beyond `first`, 0 to max. (A chunk of a
// longer list of rows is a Rows with its first row.)
typedef struct {
    Counts *counts;
    uint32_t slot;
    uint32_t first;
    uint32_t max;
} Rows;

// ---- tapes -------------------------------------------------------------------------------------

// Recorded work, replayed in any order with others. A tape keeps its first failure and reports it
// when it ends. Barriers come from what each kernel reads and writes; nobody writes one.
typedef struct Tape Tape;

// How many workgroups: x * y * z, where one of x and y may follow from a count.
typedef struct {
    uint32_t x, y; // groups; the axis that follows from rows is ignored
    Rows rows;     // counts NULL: a fixed grid
    uint32_t tile; // rows per group along the axis
    uint32_t axis; // 0: x follows from rows, 1: y
} Grid;

typedef struct {
    Kernel kernel;
    // By binding; a NULL span is a binding that is not used. A kernel sees tensor i as the storage
    // buffer at binding i or, where it says so, as the texel view (of vectors of four values, read
    // only) at binding GPU_BINDINGS + i: a samplerBuffer of f32 or, for 16 bits a value, a
    // usamplerBuffer of two words, for quantised values one of four.
    Tensor tensors[GPU_BINDINGS];
    const void *args; // push constants
    uint32_t args_bytes;
    Grid grid;
    uint32_t constants[GPU_CONSTANTS]; // specialization constants 0..5
} Dispatch;

// One tape is recorded at a time. label names it in messages and in debuggers.
Tape *tape_begin(Gpu *gpu, const char *label, Error *err);
void tape_dispatch(Tape *tape, const Dispatch *dispatch);
// Sets every word of the tensor.
void tape_fill(Tape *tape, Tensor tensor, uint32_t word);
// to = from, of one size.
void tape_copy(Tape *tape, Tensor to, Tensor from);
// Ends the recording. False: the first failure of the recording, in err; free the tape then.
bool tape_end(Tape *tape, Error *err);
void tape_free(Tape *tape);
uint32_t tape_dispatches(const Tape *tape);
Gpu *tape_gpu(const Tape *tape);

// Runs the tapes in order and waits. A tape may stand in the list more than once. NULL entries are
// passed over. On failure nothing of the list runs any more, but some of it may have run.
bool gpu_run(Gpu *gpu, Tape *const *tapes, size_t count, Error *err);

// ---- for those who write kernels ---------------------------------------------------------------

// Compiles the GLSL at path now, with the macros of that kernel, and records it from then on in the
// kernel's place; tapes that are recorded keep what they have. False, and nothing has changed: the
// first error of the compiler ("FILE:LINE: error: ..."), or a tensor that the kernel has not.
// Includes are looked for beside the file, then in STRATA_SHADER_DIR, then in the program, which
// has all of shaders/.
bool gpu_replace_kernel(Gpu *gpu, Kernel kernel, const char *path, Error *err);
// The same with SPIR-V that `name` stands for in messages. The words (count) are malloc'ed and
// become the Gpu's, whatever the outcome.
bool gpu_replace_kernel_words(Gpu *gpu, Kernel kernel, const char *name, uint32_t *words,
                              size_t count, Error *err);
// The kernel itself is recorded again.
void gpu_restore_kernel(Gpu *gpu, Kernel kernel);
// The GLSL of shaders/NAME ("rmsnorm.comp", "args.h") that this program was made with, or NULL.
const char *gpu_shader_text(const char *name);

// Asked of each dispatch as it is recorded, before anything is made of it; false leaves it out.
// NULL: none.
typedef bool DispatchFilter(void *user, const Dispatch *dispatch);
void gpu_filter(Gpu *gpu, DispatchFilter *filter, void *user);

#endif
