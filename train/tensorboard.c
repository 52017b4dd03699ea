// The metrics of a run as a TensorBoard event file: see tensorboard.h.
//
// The file is a sequence of TFRecords: length (u64), masked CRC of it (u32), payload, masked CRC of
// the payload (u32), all little-endian. A payload is a protobuf message:
//   Event   { double wall_time = 1; int64 step = 2;
//             string file_version = 3 | Summary summary = 5 | SessionLog session_log = 7 }
//   Summary { repeated Value value = 1 }, Value { string tag = 1; float simple_value = 2 }
//   SessionLog { enum status = 1 }, where 1 is START: what has this step or a later one is void
#define _POSIX_C_SOURCE 200809L
#include "train/tensorboard.h"
#include "base/file.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TAG_BYTES = 48, VALUES = 2 * CONFIG_MAX_EXITS + 8 };

struct Tensorboard {
    FILE *file;
    bool begun; // the session log is written
};

// ---- protobuf ----------------------------------------------------------------------------------

// A message being written.
typedef struct {
    uint8_t bytes[VALUES * (TAG_BYTES + 16)];
    size_t size;
} Message;

typedef enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 } Wire;

static void put_byte(Message *m, unsigned byte)
{
    assert(m->size < sizeof m->bytes);
    m->bytes[m->size++] = (uint8_t)byte;
}

static void put_varint(Message *m, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) put_byte(m, (unsigned)(value & 0x7f) | 0x80);
    put_byte(m, (unsigned)value);
}

static void put_key(Message *m, unsigned field, Wire wire)
{
    put_varint(m, field << 3 | wire);
}

static void put_little(Message *m, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) put_byte(m, (unsigned)(value >> 8 * i) & 0xff);
}

static void put_bytes(Message *m, unsigned field, const void *bytes, size_t size)
{
    put_key(m, field, WIRE_BYTES);
    put_varint(m, size);
    for (size_t i = 0; i < size; i++) put_byte(m, ((const uint8_t *)bytes)[i]);
}

static void put_float(Message *m, unsigned field, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(m, field, WIRE_32);
    put_little(m, bits, 4);
}

static void put_double(Message *m, unsigned field, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(m, field, WIRE_64);
    put_little(m, bits, 8);
}

// Adds a value to a summary.
static void put_value(Message *summary, double value, const char *tag, ...)
    __attribute__((format(printf, 3, 4)));
static void put_value(Message *summary, double value, const char *tag, ...)
{
    char text[TAG_BYTES];
    Message inner = {.size = 0};
    va_list args;
    va_start(args, tag);
    vsnprintf(text, sizeof text, tag, args);
    va_end(args);
    put_bytes(&inner, 1, text, strlen(text));
    put_float(&inner, 2, (float)value);
    put_bytes(summary, 1, inner.bytes, inner.size);
}

// ---- records -----------------------------------------------------------------------------------

// What one byte does to the CRC, by Castagnoli's polynomial with its bits reversed.
static uint32_t crc_of_byte(uint32_t byte)
{
    for (int bit = 0; bit < 8; bit++) byte = byte & 1 ? byte >> 1 ^ 0x82F63B78u : byte >> 1;
    return byte;
}

uint32_t tensorboard_crc(const void *bytes, size_t size)
{
    static uint32_t table[256];
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) table[i] = crc_of_byte(i);
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++)
        crc = crc >> 8 ^ table[(crc ^ ((const uint8_t *)bytes)[i]) & 0xff];
    return ~crc;
}

// A CRC of bytes that hold CRCs says little, so those that are stored are rotated and shifted.
static uint32_t masked_crc(const void *bytes, size_t size)
{
    uint32_t crc = tensorboard_crc(bytes, size);
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

// Writes an event whose field `what` holds bytes; a step of 0 is protobuf's default and left out.
static void write_event(Tensorboard *board, uint64_t step, unsigned what, const void *bytes,
                        size_t size)
{
    struct timespec now;
    Message head = {.size = 0}, event = {.size = 0}, tail = {.size = 0};
    clock_gettime(CLOCK_REALTIME, &now);
    put_double(&event, 1, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
    if (step) {
        put_key(&event, 2, WIRE_VARINT);
        put_varint(&event, step);
    }
    put_bytes(&event, what, bytes, size);
    put_little(&head, event.size, 8);
    put_little(&head, masked_crc(head.bytes, 8), 4);
    put_little(&tail, masked_crc(event.bytes, event.size), 4);
    const Message *const parts[] = {&head, &event, &tail};
    for (int i = 0; i < 3; i++) fwrite(parts[i]->bytes, 1, parts[i]->size, board->file);
    fflush(board->file);
}

// ---- the file ----------------------------------------------------------------------------------

// What of a host's name serves in a file's name.
static void host_name(char *name, size_t size)
{
    if (gethostname(name, size)) name[0] = 0;
    name[size - 1] = 0;
    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-_.", *c)) *c = '_';
    if (!name[0]) snprintf(name, size, "strata");
}

Tensorboard *tensorboard_open(const char *out, Error *err)
{
    static const char version[] = "brain.Event:2";
    char host[64], name[160], path[1024];
    host_name(host, sizeof host);
    snprintf(name, sizeof name, "events.out.tfevents.%lld.%s.%ld", (long long)time(NULL), host,
             (long)getpid());
    if (!path_join(path, sizeof path, out, name, err)) return NULL;
    Tensorboard *board = calloc(1, sizeof *board);
    if (board && (board->file = fopen(path, "wb"))) {
        write_event(board, 0, 3, version, strlen(version));
        return board;
    }
    error_set(err, "%s: %s", path, board ? strerror(errno) : "out of memory");
    free(board);
    return NULL;
}

void tensorboard_close(Tensorboard *board)
{
    if (board) fclose(board->file);
    free(board);
}

static void write_summary(Tensorboard *board, uint64_t step, const Message *summary)
{
    static const uint8_t start[] = {1 << 3 | WIRE_VARINT, 1};
    if (!board->begun) write_event(board, step, 7, start, sizeof start);
    board->begun = true;
    write_event(board, step, 5, summary->bytes, summary->size);
}

void tensorboard_step(Tensorboard *board, const StepReport *r)
{
    Message summary = {.size = 0};
    put_value(&summary, r->loss, "loss/mean");
    for (uint32_t e = 0; e < r->exit_count; e++)
        put_value(&summary, r->losses[e], "loss/depth_%" PRIu32, r->exits[e]);
    put_value(&summary, r->norm, "grad_norm");
    put_value(&summary, r->rate, "learning_rate");
    put_value(&summary, (double)r->tokens / r->seconds, "tokens_per_second");
    put_value(&summary, 1e-12 * r->operations / r->seconds, "tflops");
    put_value(&summary, (double)r->memory_bytes, "memory_bytes");
    write_summary(board, r->step, &summary);
}

void tensorboard_valid(Tensorboard *board, uint64_t step, const DepthScore *scores, uint32_t count)
{
    Message summary = {.size = 0};
    for (uint32_t i = 0; i < count; i++) {
        put_value(&summary, scores[i].loss, "valid/loss_depth_%" PRIu32, scores[i].depth);
        put_value(&summary, scores[i].exact_match, "valid/exact_match_depth_%" PRIu32,
                  scores[i].depth);
    }
    write_summary(board, step, &summary);
}
