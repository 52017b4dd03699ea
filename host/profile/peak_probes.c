// What is measured for peak.h: tensors, and one probe for each way to reach a figure. Which way is
// the fastest differs among devices (CPU drivers load from texel views several times faster), so
// all of them are run. Not how they are run, which is peak_measure.c.
#include "profile/matrix_code.h"
#include "profile/peak_internal.h"

#include "../../shaders/args.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
    LARGE_BYTES = 1 << 30,       // of a buffer that no cache holds, on a GPU
    LARGE_CPU_BYTES = 128 << 20, // and on a CPU driver
    SMALL_BYTES = 2 << 20,       // of one that the last cache of a GPU holds
    SMALL_CPU_BYTES = 256 << 10, // and the second of a CPU
    TRANSFER_BYTES = 32 << 20,
    MOST_DISPATCHES = 8192,
    MOST_LOOPS = 1 << 20,
    GROUP = 256, // invocations of a workgroup
    CPU_GROUP = 64,
    GROUPS = 4096, // enough for any device
    RESULT_BYTES = 4 * GROUP * GROUPS,
    CPU_GROUPS = 64,
};

static bool is_cpu(const Bench *bench)
{
    return !strcmp(gpu_info(bench->gpu)->kind, "cpu");
}

static uint32_t group_of(const Bench *bench)
{
    return is_cpu(bench) ? CPU_GROUP : GROUP;
}

// ---- tensors -----------------------------------------------------------------------------------

static bool make(Bench *bench, Tensor *tensor, Memory memory, uint64_t bytes, Error *err)
{
    const uint32_t cols = 64;
    *tensor = tensor_make(bench->gpu, memory, (uint32_t)(bytes / (4 * cols)), cols, err);
    return tensor->span != NULL;
}

// The largest power of two that one binding sees and that leaves the device room.
static uint64_t large_bytes(const Bench *bench)
{
    const GpuInfo *info = gpu_info(bench->gpu);
    uint64_t bytes = is_cpu(bench) ? LARGE_CPU_BYTES : LARGE_BYTES;
    while (bytes > SMALL_BYTES && (bytes > info->binding_bytes || bytes > info->allocation_bytes ||
                                   bytes > info->local_bytes / 16))
        bytes /= 2;
    return bytes;
}

// Drivers that only compile say that they copied, and did not.
static bool check_executes(Bench *bench, float expected, Error *err)
{
    float values[64];
    if (!tensor_download(bench->gpu, bench->floats, values, err)) return false;
    return values[0] == expected ||
           error_set(err, "device %s: executes nothing, so there is nothing to measure",
                     gpu_info(bench->gpu)->name);
}

// Factors for arithmetic: values stay where they are of common size.
static bool fill(Bench *bench, Error *err)
{
    const float factor = 0.999f;
    float values[64] = {factor, 0.001f};
    for (int i = 2; i < 64; i++) values[i] = 1;
    memset(bench->host, 1, TRANSFER_BYTES);
    if (!tensor_upload(bench->gpu, bench->floats, values, err)) return false;
    values[0] = 0x01020308;
    return tensor_upload(bench->gpu, bench->words, values, err) &&
           check_executes(bench, factor, err);
}

static bool make_tensors(Bench *bench, Error *err)
{
    uint64_t large = large_bytes(bench), small = is_cpu(bench) ? SMALL_CPU_BYTES : SMALL_BYTES;
    bench->host = malloc(TRANSFER_BYTES);
    if (!bench->host) return error_set(err, "out of memory");
    return make(bench, &bench->large[0], MEMORY_DEVICE, large, err) &&
           make(bench, &bench->large[1], MEMORY_DEVICE, large, err) &&
           make(bench, &bench->small[0], MEMORY_DEVICE, small, err) &&
           make(bench, &bench->small[1], MEMORY_DEVICE, small, err) &&
           make(bench, &bench->floats, MEMORY_DEVICE, 256, err) &&
           make(bench, &bench->words, MEMORY_DEVICE, 256, err) &&
           make(bench, &bench->results, MEMORY_DEVICE, RESULT_BYTES, err) &&
           make(bench, &bench->one, MEMORY_DEVICE, 256, err) &&
           make(bench, &bench->device, MEMORY_DEVICE, TRANSFER_BYTES, err) &&
           make(bench, &bench->mapped, MEMORY_HOST, TRANSFER_BYTES, err) && fill(bench, err);
}

// ---- probes ------------------------------------------------------------------------------------

static Probe *add(Bench *bench, PeakFigure figure, const char *way)
{
    assert(bench->count < MOST_PROBES);
    Probe *probe = &bench->probes[bench->count++];
    *probe = (Probe){
        .figure = figure,
        .way = way,
        .act = probe_run_tape,
        .steps = 1,
        .most_steps = 1,
        .dispatches = 1,
        .most_dispatches = MOST_DISPATCHES,
        .loops = 1,
        .most_loops = MOST_LOOPS,
        .work = 1,
    };
    return probe;
}

// Steps of a kernel's loop, within what the device allows.
static uint32_t most_steps(const Bench *bench)
{
    uint32_t most = gpu_info(bench->gpu)->loop_steps;
    return most ? most - most / 8 : 1 << 20;
}

static void add_memory(Bench *bench, PeakFigure figure, const char *way, Kernel kernel,
                       const Tensor *tensors)
{
    uint32_t group = group_of(bench), block = group * PEAK_VECTORS * 16;
    bool in_cache = tensors == bench->small;
    bool reads = figure == PEAK_READ || figure == PEAK_CACHE_READ;
    Probe *probe = add(bench, figure, way);
    probe->blocks = (uint32_t)(tensor_bytes(tensors[0]) / block);
    // Workgroups have a cost of their own, so that few of them take a CPU through large buffers.
    uint32_t groups = is_cpu(bench) ? CPU_GROUPS : in_cache ? GROUPS : probe->blocks;
    if (!in_cache) probe->steps = probe->most_steps = probe->blocks / groups;
    probe->apart = probe->steps;
    probe->dispatch = (Dispatch){
        .kernel = kernel,
        .tensors = {tensors[0], tensors[1]},
        .grid = {.x = groups, .y = 1},
        .constants = {group, 1},
    };
    // Loops over vectors count where a compiler leaves them loops.
    if (in_cache) probe->most_steps = most_steps(bench) / (2 * PEAK_VECTORS + 1);
    probe->work = (reads ? 1.0 : 2.0) * groups * block;
}

static void add_driver_copy(Bench *bench, PeakFigure figure, const Tensor *tensors)
{
    Probe *probe = add(bench, figure, "vkCmdCopyBuffer");
    probe->copies = true;
    probe->dispatch = (Dispatch){.tensors = {tensors[0], tensors[1]}};
    probe->work = 2.0 * (double)tensor_bytes(tensors[0]);
}

// A way to copy or read, for each size of memory that kernels see up to `most` bytes of.
static void add_ways(Bench *bench, const char *way, Kernel copy, Kernel read, uint64_t most)
{
    if (tensor_bytes(bench->large[0]) <= most) {
        add_memory(bench, PEAK_COPY, way, copy, bench->large);
        add_memory(bench, PEAK_READ, way, read, bench->large);
    }
    if (tensor_bytes(bench->small[0]) <= most) {
        add_memory(bench, PEAK_CACHE_COPY, way, copy, bench->small);
        add_memory(bench, PEAK_CACHE_READ, way, read, bench->small);
    }
}

static void add_memories(Bench *bench)
{
    const GpuInfo *info = gpu_info(bench->gpu);
    add_ways(bench, "storage buffer", K_peak_copy, K_peak_copy_read, info->binding_bytes);
    add_ways(bench, "texel view", K_peak_copy_texel, K_peak_copy_read_texel, info->texel_bytes);
    add_driver_copy(bench, PEAK_COPY, bench->large);
    add_driver_copy(bench, PEAK_CACHE_COPY, bench->small);
}

// `each` operations of a chain's link.
static void add_arithmetic(Bench *bench, PeakFigure figure, Kernel kernel, uint32_t chains,
                           const char *way, double each)
{
    if (!gpu_has_kernel(bench->gpu, kernel)) return;
    uint32_t group = group_of(bench), groups = is_cpu(bench) ? CPU_GROUPS : GROUPS;
    Probe *probe = add(bench, figure, way);
    probe->dispatch = (Dispatch){
        .kernel = kernel,
        .tensors = {figure == PEAK_INT8_DOT ? bench->words : bench->floats, bench->results},
        .grid = {.x = groups, .y = 1},
        .constants = {group, 1},
    };
    probe->most_steps = most_steps(bench);
    probe->work = each * PEAK_CHAIN * chains * group * groups;
}

static void add_arithmetics(Bench *bench)
{
    add_arithmetic(bench, PEAK_F32, K_peak_arithmetic, PEAK_CHAINS, "8 chains", 2);
    add_arithmetic(bench, PEAK_F32, K_peak_arithmetic_wide, PEAK_CHAINS_WIDE, "12 chains", 2);
    add_arithmetic(bench, PEAK_F16, K_peak_arithmetic_half, PEAK_CHAINS, "8 chains of pairs", 4);
    add_arithmetic(bench, PEAK_F16, K_peak_arithmetic_half_wide, PEAK_CHAINS_WIDE,
                   "12 chains of pairs", 4);
    add_arithmetic(bench, PEAK_INT8_DOT, K_peak_arithmetic_dot, PEAK_CHAINS, "8 chains", 8);
    add_arithmetic(bench, PEAK_INT8_DOT, K_peak_arithmetic_dot_wide, PEAK_CHAINS_WIDE, "12 chains",
                   8);
}

// Each shape that the device lists and matrix_code knows the types of.
static void add_matrices(Bench *bench, Peak *peak)
{
    static GpuMatrixShape shapes[PEAK_MATRICES];
    const GpuInfo *info = gpu_info(bench->gpu);
    uint32_t groups = is_cpu(bench) ? CPU_GROUPS : GROUPS;
    peak->matrix_count = (uint32_t)gpu_matrix_shapes(bench->gpu, shapes, PEAK_MATRICES);
    for (uint32_t i = 0; i < peak->matrix_count; i++) {
        PeakMatrix *matrix = &peak->matrices[i];
        *matrix = (PeakMatrix){.shape = shapes[i]};
        if (!matrix_known(&shapes[i]) || 4 * matrix_results(&shapes[i]) > RESULT_BYTES) continue;
        Probe *probe = add(bench, PEAK_F32, NULL);
        probe->matrix = matrix;
        probe->dispatch = (Dispatch){
            .kernel = K_peak_arithmetic,
            .tensors = {bench->floats, bench->results},
            .grid = {.x = groups, .y = 1},
            .constants = {info->subgroup_size, 1},
        };
        probe->most_steps = most_steps(bench);
        probe->work =
            2.0 * MATRIX_CHAINS * MATRIX_LINKS * groups * shapes[i].m * shapes[i].n * shapes[i].k;
    }
}

static void add_launches(Bench *bench)
{
    Probe *probe = add(bench, PEAK_LAUNCH, NULL);
    probe->dispatch = (Dispatch){
        .kernel = K_peak_empty, .grid = {.x = 1, .y = 1}, .constants = {group_of(bench), 1}};
    probe = add(bench, PEAK_BARRIER, NULL);
    probe->dispatch = (Dispatch){.kernel = K_peak_empty_ordered,
                                 .tensors = {bench->one},
                                 .grid = {.x = 1, .y = 1},
                                 .constants = {group_of(bench), 1}};
    probe = add(bench, PEAK_SUBMIT, NULL);
    probe->dispatches = probe->most_dispatches = 0;
}

// ---- transfers ---------------------------------------------------------------------------------

static bool upload(Bench *bench, Probe *probe, Error *err)
{
    (void)probe;
    return tensor_upload(bench->gpu, bench->device, bench->host, err);
}

static bool download(Bench *bench, Probe *probe, Error *err)
{
    (void)probe;
    return tensor_download(bench->gpu, bench->device, bench->host, err);
}

static bool mapped_write(Bench *bench, Probe *probe, Error *err)
{
    (void)probe, (void)err;
    memcpy(tensor_host(bench->mapped), bench->host, TRANSFER_BYTES);
    return true;
}

static bool mapped_read(Bench *bench, Probe *probe, Error *err)
{
    (void)probe, (void)err;
    memcpy(bench->host, tensor_host(bench->mapped), TRANSFER_BYTES);
    return true;
}

static void add_transfer(Bench *bench, PeakFigure figure,
                         bool (*act)(Bench *bench, Probe *probe, Error *err))
{
    Probe *probe = add(bench, figure, NULL);
    probe->act = act;
    probe->most_dispatches = 1;
    probe->work = TRANSFER_BYTES;
}

bool probes_open(Bench *bench, Peak *peak, Error *err)
{
    if (!make_tensors(bench, err)) return false;
    add_memories(bench);
    add_arithmetics(bench);
    add_matrices(bench, peak);
    add_launches(bench);
    add_transfer(bench, PEAK_UPLOAD, upload);
    add_transfer(bench, PEAK_DOWNLOAD, download);
    add_transfer(bench, PEAK_MAPPED_WRITE, mapped_write);
    add_transfer(bench, PEAK_MAPPED_READ, mapped_read);
    return true;
}

void probes_close(Bench *bench)
{
    Tensor *const tensors[] = {
        &bench->large[0], &bench->large[1], &bench->small[0], &bench->small[1], &bench->floats,
        &bench->words,    &bench->results,  &bench->one,      &bench->device,   &bench->mapped};
    for (size_t i = 0; i < bench->count; i++) tape_free(bench->probes[i].tape);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        tensor_free(bench->gpu, tensors[i]);
    free(bench->host);
}
