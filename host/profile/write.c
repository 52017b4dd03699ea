// Streams of JSON, and commands in words: see write.h.
#include "profile/write.h"
#include "base/json_text.h"
#include "base/utf8.h"
#include "profile/cost.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define REPLACEMENT "\xEF\xBF\xBD" // U+FFFD

void write_format(FileWriter *writer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (vfprintf(writer->stream, format, args) < 0) writer->failed = true;
    va_end(args);
}

void write_json(FileWriter *writer, const char *json)
{
    for (size_t length; *json; json += length) {
        length = strcspn(json, "<");
        file_writer_put(writer, json, length);
        if (json[length] != '<') continue;
        file_writer_put(writer, "\\u003c", 6);
        length++;
    }
}

// text as valid UTF-8, malloc'ed; NULL: out of memory.
static char *repair(const char *text)
{
    size_t size = strlen(text);
    char *out = malloc(3 * size + 1), *at = out;
    if (!out) return NULL;
    for (size_t i = 0; i < size;) {
        size_t length = utf8_sequence(text + i, size - i);
        memcpy(at, length ? text + i : REPLACEMENT, length ? length : 3);
        at += length ? length : 3;
        i += length ? length : 1;
    }
    *at = 0;
    return out;
}

void write_text(FileWriter *writer, const char *text)
{
    char *valid = repair(text);
    char *quoted = valid ? json_text_quote(valid, strlen(valid)) : NULL;
    if (quoted)
        write_json(writer, quoted);
    else
        writer->failed = true;
    free(quoted);
    free(valid);
}

const char *command_name(const Command *command)
{
    if (command->kind == COMMAND_FILL) return "fill";
    if (command->kind == COMMAND_COPY) return "copy";
    return kernel_sources[command->dispatch.kernel].name;
}

void command_shape(char out[80], const Command *command, uint32_t rows)
{
    out[0] = 0;
    if (command->kind == COMMAND_DISPATCH) cost_shape(out, 80, &command->dispatch, rows);
}

void command_groups(char out[64], const Command *command, uint32_t rows)
{
    const Grid *grid = &command->dispatch.grid;
    uint64_t along[] = {grid->x, grid->y};
    out[0] = 0;
    if (command->kind != COMMAND_DISPATCH) return;
    if (grid->rows.counts)
        along[grid->axis] = grid->tile ? ((uint64_t)rows + grid->tile - 1) / grid->tile : 0;
    snprintf(out, 64, "%llu x %llu", (unsigned long long)along[0], (unsigned long long)along[1]);
}

void command_tensors(char out[256], const Command *command)
{
    size_t used = 0;
    out[0] = 0;
    for (int i = 0; i < GPU_BINDINGS && used < 256; i++) {
        Tensor tensor = command->dispatch.tensors[i];
        if (!tensor.span) continue;
        int length = snprintf(out + used, 256 - used, "%s%ux%u %s", used ? ", " : "", tensor.rows,
                              tensor.cols, dtype_name(tensor.dtype));
        used += (size_t)(length > 0 ? length : 0);
    }
}

int64_t write_ns(double time, double base)
{
    return llround((time - base) * 1e9);
}

double write_base(const ProfileRecord *record)
{
    const Profile *data = &record->data;
    double base = record->begin;
    if (record->step_count) base = fmin(base, record->steps[0].begin);
    if (data->run_count) base = fmin(base, data->runs[0].begin);
    if (data->transfer_count) base = fmin(base, data->transfers[0].begin);
    if (data->submission_count) base = fmin(base, data->submissions[0].sent);
    if (data->event_count) base = fmin(base, data->events[0].begin);
    return base;
}
