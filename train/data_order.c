// The order of records: see data_order.h.
#include "train/data_order.h"
#include "base/random.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

struct DataOrder {
    DataOrderState state;
    double weights[DATA_FILES];
    double sum;                   // of the weights
    uint32_t *orders[DATA_FILES]; // (count) of the epoch at hand
};

// Every epoch of every file has a generator of its own.
static Random epoch_random(uint64_t seed, uint64_t file, uint64_t epoch)
{
    Random random = random_seed(seed);
    random = random_seed(random_next(&random) ^ file);
    return random_seed(random_next(&random) ^ epoch);
}

// Fisher-Yates.
static void shuffle(DataOrder *order, uint32_t file)
{
    uint64_t count = order->state.files[file].count;
    uint32_t *list = order->orders[file];
    Random random = epoch_random(order->state.seed, file, order->state.files[file].epoch);
    for (uint64_t i = 0; i < count; i++) list[i] = (uint32_t)i;
    for (uint64_t i = count - 1; i > 0; i--) {
        uint64_t j = random_below(&random, i + 1);
        uint32_t kept = list[i];
        list[i] = list[j];
        list[j] = kept;
    }
}

static bool check(const uint64_t *counts, const double *weights, uint32_t file_count, Error *err)
{
    if (!file_count || file_count > DATA_FILES)
        return error_set(err, "data: %" PRIu32 " files, expected 1 to %d", file_count, DATA_FILES);
    for (uint32_t i = 0; i < file_count; i++) {
        if (!counts[i] || counts[i] > UINT32_MAX)
            return error_set(err, "data: file %" PRIu32 " has %" PRIu64 " records", i + 1,
                             counts[i]);
        if (!(weights[i] > 0) || isinf(weights[i]))
            return error_set(err, "data: file %" PRIu32 " has weight %g, expected more than 0",
                             i + 1, weights[i]);
    }
    return true;
}

DataOrder *data_order_open(const uint64_t *counts, const double *weights, uint32_t file_count,
                           uint64_t seed, Error *err)
{
    if (!check(counts, weights, file_count, err)) return NULL;
    DataOrder *order = calloc(1, sizeof *order);
    bool ok = order != NULL;
    if (ok) order->state = (DataOrderState){.seed = seed, .file_count = file_count};
    for (uint32_t i = 0; ok && i < file_count; i++) {
        order->state.files[i].count = counts[i];
        order->weights[i] = weights[i];
        order->sum += weights[i];
        order->orders[i] = malloc(counts[i] * sizeof *order->orders[i]);
        ok = order->orders[i] != NULL;
        if (ok) shuffle(order, i);
    }
    if (ok) return order;
    error_set(err, "data: out of memory for the order of the records");
    data_order_close(order);
    return NULL;
}

void data_order_close(DataOrder *order)
{
    for (uint32_t i = 0; order && i < DATA_FILES; i++) free(order->orders[i]);
    free(order);
}

static double drawn(const DataOrder *order, uint32_t file)
{
    return (double)order->state.files[file].epoch * (double)order->state.files[file].count +
           (double)order->state.files[file].position;
}

// The file that is furthest behind its share, were one more record drawn: no file gets ahead of its
// share by a whole record. Exact in double for whole weights.
static uint32_t next_file(const DataOrder *order)
{
    double total = 1;
    for (uint32_t i = 0; i < order->state.file_count; i++) total += drawn(order, i);
    uint32_t best = 0;
    double most = -INFINITY;
    for (uint32_t i = 0; i < order->state.file_count; i++) {
        double behind = order->weights[i] * total - order->sum * drawn(order, i);
        if (!(behind > most)) continue;
        most = behind;
        best = i;
    }
    return best;
}

DataPick data_order_next(DataOrder *order)
{
    uint32_t file = next_file(order);
    if (order->state.files[file].position == order->state.files[file].count) {
        order->state.files[file].epoch++;
        order->state.files[file].position = 0;
        shuffle(order, file);
    }
    return (DataPick){file, order->orders[file][order->state.files[file].position++]};
}

void data_order_save(const DataOrder *order, DataOrderState *state)
{
    *state = order->state;
}

bool data_order_restore(DataOrder *order, const DataOrderState *state, Error *err)
{
    const DataOrderState *own = &order->state;
    if (state->file_count != own->file_count)
        return error_set(err, "data: %" PRIu64 " files, but the saved order is of %" PRIu64,
                         own->file_count, state->file_count);
    for (uint32_t i = 0; i < own->file_count; i++) {
        if (state->files[i].count != own->files[i].count)
            return error_set(err,
                             "data: file %" PRIu32 " has %" PRIu64
                             " records, but the saved order is of %" PRIu64,
                             i + 1, own->files[i].count, state->files[i].count);
        if (state->files[i].position > state->files[i].count)
            return error_set(err, "data: the saved order stands behind the end of file %" PRIu32,
                             i + 1);
    }
    order->state = *state;
    for (uint32_t i = 0; i < own->file_count; i++) shuffle(order, i);
    return true;
}
