// Counts that change from step to step, and the grids that follow from them: see gpu.h.
#include "gpu/dry.h"
#include "gpu/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_COMMANDS = 512 };

// One indirect command; grids that are alike share it.
typedef struct {
    uint32_t slot, first, max, tile, axis, other;
} GridCommand;

struct Counts {
    Gpu *gpu;
    Tensor values;   // (1, COUNTS_MAX)
    Tensor commands; // (MAX_COMMANDS, 4): VkDispatchIndirectCommand in the first three words
    GridCommand known[MAX_COMMANDS];
    uint32_t known_count;
};

Counts *counts_open(Gpu *gpu, Error *err)
{
    Counts *counts = calloc(1, sizeof *counts);
    if (!counts) {
        error_set(err, "out of memory");
        return NULL;
    }
    counts->gpu = gpu;
    counts->values = tensor_make(gpu, MEMORY_HOST, 1, COUNTS_MAX, err);
    if (counts->values.span) counts->commands = tensor_make(gpu, MEMORY_HOST, MAX_COMMANDS, 4, err);
    if (counts->commands.span) return counts;
    counts_close(counts);
    return NULL;
}

void counts_close(Counts *counts)
{
    if (!counts) return;
    tensor_free(counts->gpu, &counts->commands);
    tensor_free(counts->gpu, &counts->values);
    free(counts);
}

Counts *counts_imagine(void)
{
    static Counts imagined;
    imagined.values = tensor_imagine(DTYPE_F32, 1, COUNTS_MAX);
    return &imagined;
}

Tensor counts_tensor(const Counts *counts)
{
    return counts->values;
}

Tensor counts_commands(const Counts *counts)
{
    return counts->commands;
}

uint32_t counts_get(const Counts *counts, uint32_t slot)
{
    return ((const uint32_t *)tensor_host(counts->values))[slot];
}

static void write_command(Counts *counts, uint32_t i)
{
    const GridCommand *command = &counts->known[i];
    uint32_t *words = (uint32_t *)tensor_host(counts->commands) + 4 * i;
    uint32_t all = counts_get(counts, command->slot);
    uint32_t rows = all > command->first ? all - command->first : 0;
    if (rows > command->max) rows = command->max;
    uint32_t groups = rows / command->tile + (rows % command->tile != 0);
    words[command->axis] = groups;
    words[!command->axis] = command->other;
    words[2] = 1;
}

void counts_set(Counts *counts, uint32_t slot, uint32_t value)
{
    assert(slot < COUNTS_MAX);
    ((uint32_t *)tensor_host(counts->values))[slot] = value;
    for (uint32_t i = 0; i < counts->known_count; i++)
        if (counts->known[i].slot == slot) write_command(counts, i);
}

bool counts_command(Counts *counts, const Grid *grid, uint64_t *offset)
{
    const GridCommand want = {.slot = grid->rows.slot,
                              .first = grid->rows.first,
                              .max = grid->rows.max,
                              .tile = grid->tile,
                              .axis = grid->axis,
                              .other = grid->axis ? grid->x : grid->y};
    uint32_t i = 0;
    while (i < counts->known_count && memcmp(&counts->known[i], &want, sizeof want)) i++;
    if (i == MAX_COMMANDS) return false;
    if (i == counts->known_count) {
        counts->known[counts->known_count++] = want;
        write_command(counts, i);
    }
    *offset = 16 * (uint64_t)i;
    return true;
}
