// The TensorBoard event file, read back by a small reader that shares no code with the writer (its
// CRC goes bit by bit). Debian 12 has no package of TensorBoard's own reader; the
// field numbers are those of TensorFlow's event.proto and summary.proto.
#include "support/files.h"
#include "train/tensorboard.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_RECORDS = 16, MOST_VALUES = 300 };

// ---- the reader --------------------------------------------------------------------------------

typedef struct {
    char tag[64];
    float value;
} Scalar;

typedef struct {
    double wall_time;
    uint64_t step;
    char version[32];
    uint64_t status; // of a session log; 0: none
    Scalar scalars[MOST_VALUES];
    size_t scalar_count;
} Event;

typedef struct {
    Event events[MOST_RECORDS];
    size_t count;
} EventFile;

// A stretch of bytes being read.
typedef struct {
    const uint8_t *at, *end;
} Reader;

static uint64_t read_little(Reader *r, unsigned bytes)
{
    uint64_t value = 0;
    assert_true((size_t)(r->end - r->at) >= bytes);
    for (unsigned i = 0; i < bytes; i++) value |= (uint64_t)r->at[i] << 8 * i;
    r->at += bytes;
    return value;
}

static uint64_t read_varint(Reader *r)
{
    uint64_t value = 0, byte;
    unsigned shift = 0;
    do {
        byte = read_little(r, 1);
        value |= (byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80);
    return value;
}

static Reader read_bytes(Reader *r)
{
    uint64_t size = read_varint(r);
    assert_true((uint64_t)(r->end - r->at) >= size);
    const Reader inner = {r->at, r->at + size};
    r->at += size;
    return inner;
}

static void read_text(Reader *r, char *text, size_t size)
{
    const Reader inner = read_bytes(r);
    size_t length = (size_t)(inner.end - inner.at);
    assert_true(length < size);
    memcpy(text, inner.at, length);
    text[length] = 0;
}

static void read_scalar(Reader r, Scalar *scalar)
{
    assert_int_equal(read_varint(&r), 1 << 3 | 2);
    read_text(&r, scalar->tag, sizeof scalar->tag);
    assert_int_equal(read_varint(&r), 2 << 3 | 5);
    uint32_t bits = (uint32_t)read_little(&r, 4);
    memcpy(&scalar->value, &bits, sizeof bits);
    assert_ptr_equal(r.at, r.end);
}

static void read_summary(Reader r, Event *event)
{
    while (r.at < r.end) {
        assert_true(event->scalar_count < MOST_VALUES);
        assert_int_equal(read_varint(&r), 1 << 3 | 2);
        read_scalar(read_bytes(&r), &event->scalars[event->scalar_count++]);
    }
}

static void read_log(Reader r, Event *event)
{
    assert_int_equal(read_varint(&r), 1 << 3);
    event->status = read_varint(&r);
    assert_ptr_equal(r.at, r.end);
}

static void read_event(Reader r, Event *event)
{
    while (r.at < r.end) {
        uint64_t key = read_varint(&r), bits;
        if (key == (1 << 3 | 1)) {
            bits = read_little(&r, 8);
            memcpy(&event->wall_time, &bits, sizeof bits);
        } else if (key == 2 << 3) {
            event->step = read_varint(&r);
        } else if (key == (3 << 3 | 2)) {
            read_text(&r, event->version, sizeof event->version);
        } else if (key == (5 << 3 | 2)) {
            read_summary(read_bytes(&r), event);
        } else if (key == (7 << 3 | 2)) {
            read_log(read_bytes(&r), event);
        } else {
            fail_msg("key %d", (int)key);
        }
    }
}

static uint32_t slow_masked_crc(const uint8_t *bytes, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < 8 * size; i++) {
        crc ^= (uint32_t)bytes[i / 8] >> i % 8 & 1;
        crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

// The path of the one event file of the folder.
static TestPath event_path(void)
{
    TestPath path = {""};
    DIR *dir = opendir(own_folder.text);
    assert_non_null(dir);
    for (const struct dirent *item; (item = readdir(dir));) {
        if (strncmp(item->d_name, "events.out.tfevents.", 20)) continue;
        assert_string_equal(path.text, "");
        path = test_path(own_folder.text, item->d_name);
    }
    closedir(dir);
    assert_string_not_equal(path.text, "");
    return path;
}

static EventFile *read_events(void)
{
    EventFile *file = calloc(1, sizeof *file);
    assert_non_null(file);
    size_t size;
    char *bytes = test_read(event_path().text, &size);
    Reader r = {(uint8_t *)bytes, (uint8_t *)bytes + size};
    while (r.at < r.end) {
        const uint8_t *start = r.at;
        uint64_t length = read_little(&r, 8);
        assert_int_equal(read_little(&r, 4), slow_masked_crc(start, 8));
        assert_true((uint64_t)(r.end - r.at) >= length && file->count < MOST_RECORDS);
        const Reader payload = {r.at, r.at + length};
        r.at += length;
        assert_int_equal(read_little(&r, 4), slow_masked_crc(payload.at, length));
        read_event(payload, &file->events[file->count++]);
    }
    free(bytes);
    return file;
}

static double scalar(const Event *event, const char *tag)
{
    for (size_t i = 0; i < event->scalar_count; i++)
        if (!strcmp(event->scalars[i].tag, tag)) return (double)event->scalars[i].value;
    fail_msg("no value '%s'", tag);
    return 0;
}

// ---- tests -------------------------------------------------------------------------------------

static Tensorboard *open_board(void)
{
    Error err;
    Tensorboard *board = tensorboard_open(own_folder.text, &err);
    if (!board) fail_msg("%s", err.text);
    return board;
}

// RFC 3720, B.4, and the usual check value.
static void crc_has_the_known_values(void **state)
{
    (void)state;
    uint8_t bytes[32] = {0};
    assert_int_equal(tensorboard_crc("123456789", 9), 0xE3069283u);
    assert_int_equal(tensorboard_crc("", 0), 0);
    assert_int_equal(tensorboard_crc(bytes, 32), 0x8A9136AAu);
    memset(bytes, 0xff, 32);
    assert_int_equal(tensorboard_crc(bytes, 32), 0x62A8AB43u);
    for (unsigned i = 0; i < 32; i++) bytes[i] = (uint8_t)i;
    assert_int_equal(tensorboard_crc(bytes, 32), 0x46DD794Eu);
}

static void begins_with_the_version(void **state)
{
    (void)state;
    tensorboard_close(open_board());
    EventFile *file = read_events();
    assert_int_equal(file->count, 1);
    assert_string_equal(file->events[0].version, "brain.Event:2");
    double age = (double)time(NULL) - file->events[0].wall_time;
    assert_true(age > -2 && age < 60);
    free(file);
}

static void holds_steps_and_validations(void **state)
{
    (void)state;
    static const uint32_t exits[] = {2, 40};
    const StepReport report = {.step = 300,
                               .exit_count = 2,
                               .exits = exits,
                               .losses = {2.5, 1.25},
                               .loss = 1.875,
                               .norm = 0.75,
                               .rate = 2e-5,
                               .tokens = 512,
                               .seconds = 0.25,
                               .operations = 1e12,
                               .memory_bytes = 5ull << 30};
    const DepthScore scores[] = {{.depth = 2, .loss = 3, .exact_match = 0.5},
                                 {.depth = 40, .loss = 2, .exact_match = 1}};
    Tensorboard *board = open_board();
    tensorboard_step(board, &report);
    tensorboard_valid(board, 301, scores, 2);
    EventFile *file = read_events(); // before it is closed: each record is flushed
    tensorboard_close(board);
    assert_int_equal(file->count, 4);
    // Points of an older file from this step on are void.
    assert_int_equal(file->events[1].status, 1);
    assert_int_equal(file->events[1].step, 300);
    const Event *step = &file->events[2], *valid = &file->events[3];
    assert_int_equal(step->step, 300);
    assert_int_equal(step->scalar_count, 8);
    assert_true(scalar(step, "loss/mean") == 1.875 && scalar(step, "loss/depth_2") == 2.5);
    assert_true(scalar(step, "loss/depth_40") == 1.25 && scalar(step, "grad_norm") == 0.75);
    assert_true(scalar(step, "learning_rate") == (double)2e-5f);
    assert_true(scalar(step, "tokens_per_second") == 2048 && scalar(step, "tflops") == 4);
    assert_true(scalar(step, "memory_bytes") == (double)(5ull << 30));
    assert_int_equal(valid->step, 301);
    assert_int_equal(valid->scalar_count, 4);
    assert_true(scalar(valid, "valid/loss_depth_2") == 3);
    assert_true(scalar(valid, "valid/exact_match_depth_2") == 0.5);
    assert_true(scalar(valid, "valid/loss_depth_40") == 2);
    assert_true(scalar(valid, "valid/exact_match_depth_40") == 1);
    free(file);
}

static void holds_as_many_exits_as_there_may_be(void **state)
{
    (void)state;
    uint32_t exits[CONFIG_MAX_EXITS];
    DepthScore scores[CONFIG_MAX_EXITS] = {{0}};
    StepReport report = {
        .step = UINT32_MAX, .exit_count = CONFIG_MAX_EXITS, .exits = exits, .seconds = 1};
    for (uint32_t i = 0; i < CONFIG_MAX_EXITS; i++)
        exits[i] = scores[i].depth = 65535 - CONFIG_MAX_EXITS + 1 + i;
    Tensorboard *board = open_board();
    tensorboard_step(board, &report);
    tensorboard_valid(board, 1ull << 40, scores, CONFIG_MAX_EXITS);
    tensorboard_close(board);
    EventFile *file = read_events();
    assert_int_equal(file->count, 4);
    assert_int_equal(file->events[2].scalar_count, CONFIG_MAX_EXITS + 6);
    assert_true(file->events[2].step == UINT32_MAX && file->events[3].step == 1ull << 40);
    assert_int_equal(file->events[3].scalar_count, 2 * CONFIG_MAX_EXITS);
    assert_true(scalar(&file->events[3], "valid/exact_match_depth_65535") == 0);
    free(file);
}

static void names_the_folder_it_cannot_write(void **state)
{
    (void)state;
    Error err;
    assert_null(tensorboard_open("/nonexistent", &err));
    assert_error(err, "/nonexistent/events.out.tfevents.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(crc_has_the_known_values),         TEST(begins_with_the_version),
        TEST(holds_steps_and_validations),      TEST(holds_as_many_exits_as_there_may_be),
        TEST(names_the_folder_it_cannot_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
