// safetensors files, written: every byte, what is refused, and that an older file survives a
// failure.
#include "model/safetensors.h"
#include "support/files.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static const SafetensorsTensor DECLARED[] = {
    {"z.weight", 2, {2, 3}}, {"a", 1, {5}}, {"none", 2, {0, 7}}, {"one", 0, {0}}};
static const uint32_t PATTERNS[12] = {0x7FC00001, 0x7F800001, 0xFF800000, 0x80000000,
                                      0x00000001, 0x3F800000, 0x7F7FFFFF, 0x12345678,
                                      0xDEADBEEF, 0xFFFFFFFF, 0x00800000, 0xC0490FDB};

static void write_sample(const char *path)
{
    Error err;
    float values[12];
    memcpy(values, PATTERNS, sizeof values);
    SafetensorsWriter *writer = safetensors_create(path, DECLARED, 4, &err);
    if (!writer) fail_msg("%s", err.text);
    safetensors_put(writer, values, 5);
    safetensors_put(writer, values + 5, 0);
    safetensors_put(writer, values + 5, 7);
    if (!safetensors_commit(writer, &err)) fail_msg("%s", err.text);
}

static void round_trips_bits(void **state)
{
    (void)state;
    Safetensors file;
    Error err;
    TestPath path = test_path(own_folder.text, "y.safetensors");
    write_sample(path.text);
    assert_int_equal(test_folder_count(own_folder.text), 1);
    assert_true(safetensors_open(&file, path.text, &err));
    assert_int_equal(file.count, 4);
    float values[6];
    assert_true(safetensors_read(&file, "z.weight", 2, 3, values, &err));
    assert_memory_equal(values, PATTERNS, 6 * 4);
    assert_true(safetensors_read(&file, "a", 1, 5, values, &err));
    assert_memory_equal(values, PATTERNS + 6, 5 * 4);
    assert_true(safetensors_read(&file, "none", 0, 7, values, &err));
    assert_int_equal(safetensors_find(&file, "one")->rank, 0);
    assert_memory_equal(safetensors_find(&file, "one")->data, PATTERNS + 11, 4);
    safetensors_close(&file);
}

// Every byte of a small file, written out.
static void writes_exact_bytes(void **state)
{
    (void)state;
    static const char HEADER[] =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"z.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"a\":{\"dtype\":\"F32\",\"shape\":[5],\"data_offsets\":[24,44]},"
        "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[44,44]},"
        "\"one\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[44,48]}}";
    size_t size, padded = (sizeof HEADER - 1 + 7) / 8 * 8;
    TestPath path = test_path(own_folder.text, "y.safetensors");
    write_sample(path.text);
    uint8_t *bytes = (uint8_t *)test_read(path.text, &size);
    assert_int_equal(size, 8 + padded + 48);
    for (int i = 0; i < 8; i++) assert_int_equal(bytes[i], padded >> 8 * i & 0xFF);
    assert_memory_equal(bytes + 8, HEADER, sizeof HEADER - 1);
    for (size_t i = 8 + sizeof HEADER - 1; i < 8 + padded; i++) assert_int_equal(bytes[i], ' ');
    for (size_t i = 0; i < 48; i++)
        assert_int_equal(bytes[8 + padded + i], PATTERNS[i / 4] >> 8 * (i % 4) & 0xFF);
    free(bytes);
}

// Tensors of each dtype in one file; patterns come back as they are.
static void writes_halves(void **state)
{
    (void)state;
    static const SafetensorsTensor tensors[] = {
        {"h", 2, {1, 3}, DTYPE_F16}, {"s", 1, {2}}, {"b", 1, {2}, DTYPE_BF16}};
    static const uint16_t halves[] = {0x3C00, 0x7E01, 0xFC00}, brains[] = {0x3F80, 0x8001};
    Error err;
    float values[3];
    TestPath path = test_path(own_folder.text, "y.safetensors");
    SafetensorsWriter *writer = safetensors_create(path.text, tensors, 3, &err);
    assert_non_null(writer);
    memcpy(values, PATTERNS, 2 * sizeof *values);
    safetensors_put_halves(writer, halves, 3);
    safetensors_put(writer, values, 2);
    safetensors_put_halves(writer, brains, 2);
    if (!safetensors_commit(writer, &err)) fail_msg("%s", err.text);
    Safetensors file;
    assert_true(safetensors_open(&file, path.text, &err));
    assert_string_equal(safetensors_find(&file, "h")->dtype, "F16");
    assert_memory_equal(safetensors_find(&file, "h")->data, halves, sizeof halves);
    assert_string_equal(safetensors_find(&file, "s")->dtype, "F32");
    assert_memory_equal(safetensors_find(&file, "s")->data, PATTERNS, 8);
    assert_string_equal(safetensors_find(&file, "b")->dtype, "BF16");
    assert_memory_equal(safetensors_find(&file, "b")->data, brains, sizeof brains);
    assert_true(safetensors_read(&file, "h", 1, 3, values, &err));
    assert_true(values[0] == 1);
    safetensors_values(safetensors_find(&file, "b"), 1, 1, values);
    assert_true(values[0] == -0x1p-133f);
    safetensors_close(&file);
}

static void refuses_to_write(void **state)
{
    (void)state;
    static const struct {
        SafetensorsTensor tensor;
        const char *part;
    } WRONG[] = {
        {{"a\"b", 1, {1}}, "y.safetensors: 'a\"b' cannot be the name of a tensor"},
        {{"a\\", 1, {1}}, "cannot be the name"},
        {{"", 1, {1}}, "'' cannot be the name"},
        {{"\xc3\xa9", 1, {1}}, "cannot be the name"},
        {{"__metadata__", 1, {1}}, "'__metadata__' cannot be the name"},
        {{"a", 9, {1}}, "tensor 'a' has a shape that is too large"},
        {{"a", 2, {1ull << 40, 1ull << 40}}, "tensor 'a' has a shape that is too large"},
    };
    TestPath path = test_path(own_folder.text, "y.safetensors");
    Error err;
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        assert_null(safetensors_create(path.text, &WRONG[i].tensor, 1, &err));
        assert_error(err, WRONG[i].part);
    }
    SafetensorsTensor large[2] = {{"a", 1, {1ull << 53}}, {"b", 1, {1ull << 53}}};
    assert_null(safetensors_create(path.text, large, 2, &err));
    assert_error(err, "y.safetensors: tensors are too large in all");
    assert_null(safetensors_create(test_path(own_folder.text, "no/y").text, DECLARED, 4, &err));
    assert_error(err, "no/y: cannot write: No such file");
    assert_int_equal(test_folder_count(own_folder.text), 0);
}

// Too little or too much data: an older file stays as it was and nothing lies beside it.
static void keeps_the_older_file(void **state)
{
    (void)state;
    Error err;
    float values[13] = {0};
    TestPath path = test_write_text(&own_folder, "y.safetensors", "older");
    for (uint64_t count = 11; count <= 13; count += 2) {
        SafetensorsWriter *writer = safetensors_create(path.text, DECLARED, 4, &err);
        assert_non_null(writer);
        safetensors_put(writer, values, count);
        assert_false(safetensors_commit(writer, &err));
        assert_error(err, count == 11 ? "y.safetensors: 44 bytes of data were put, 48 were declared"
                                      : "y.safetensors: 52 bytes of data were put");
    }
    SafetensorsWriter *writer = safetensors_create(path.text, DECLARED, 4, &err);
    safetensors_put(writer, values, 12);
    safetensors_abort(writer);
    safetensors_abort(NULL);
    assert_int_equal(test_folder_count(own_folder.text), 1);
    size_t size;
    char *text = test_read(path.text, &size);
    assert_string_equal(text, "older");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(round_trips_bits), TEST(writes_exact_bytes),   TEST(writes_halves),
        TEST(refuses_to_write), TEST(keeps_the_older_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
