// safetensors files: real ones, every kind of broken header, exact conversions, and what is
// written.
#include "model/safetensors.h"
#include "support/files.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void store_length(uint8_t *at, uint64_t length)
{
    for (int i = 0; i < 8; i++) at[i] = (uint8_t)(length >> 8 * i);
}

// A file of that header (size bytes) and data_size bytes 0, 1, 2 ... of data.
static TestPath write_bytes(const char *header, size_t size, size_t data_size)
{
    uint8_t *bytes = malloc(8 + size + data_size);
    store_length(bytes, size);
    memcpy(bytes + 8, header, size);
    for (size_t i = 0; i < data_size; i++) bytes[8 + size + i] = (uint8_t)i;
    TestPath path = test_write(&own_folder, "x.safetensors", bytes, 8 + size + data_size);
    free(bytes);
    return path;
}

static TestPath write_file(const char *header, size_t data_size)
{
    return write_bytes(header, strlen(header), data_size);
}

static void assert_refused(const TestPath *path, const char *part)
{
    Safetensors file;
    Error err = {{0}};
    if (safetensors_open(&file, path->text, &err)) fail_msg("accepted, expected: %s", part);
    assert_error(err, part);
    assert_error(err, "x.safetensors: ");
    assert_null(file.map.bytes);
    assert_null(file.entries);
}

static void reads_real_files(void **state)
{
    (void)state;
    Safetensors file;
    Error err;
    TestPath path = test_data("stories260K/model.safetensors");
    assert_true(safetensors_open(&file, path.text, &err));
    assert_int_equal(file.count, 47);
    uint64_t values = 0;
    for (size_t i = 0; i < file.count; i++) values += file.entries[i].size / 4;
    assert_int_equal(values, 260032);
    const SafetensorsEntry *q = safetensors_find(&file, "model.layers.4.self_attn.k_proj.weight");
    assert_non_null(q);
    assert_string_equal(q->dtype, "F32");
    assert_int_equal(q->rank, 2);
    assert_int_equal(q->shape[0], 32);
    assert_int_equal(q->shape[1], 64);
    assert_null(safetensors_find(&file, "lm_head.weight"));
    float norm[64];
    assert_true(safetensors_read(&file, "model.norm.weight", 1, 64, norm, &err));
    assert_memory_equal(norm, safetensors_find(&file, "model.norm.weight")->data, sizeof norm);
    safetensors_close(&file);
}

// The header's length is 75: no value of this file is aligned. Its writer left 5 bytes behind the
// data, which the format forbids; without them the file is good.
static void reads_unaligned_data(void **state)
{
    (void)state;
    enum { DATA = 8 + 75, BYTES = 64 * 128 * 4 };
    Safetensors file;
    Error err;
    size_t size;
    TestPath path = test_data("formats/gguf-tiny/tiny.safetensors");
    assert_false(safetensors_open(&file, path.text, &err));
    assert_error(err, "tiny.safetensors: tensors end at byte 32768 of 32773 bytes of data");
    char *bytes = test_read(path.text, &size);
    for (size_t i = 0; i < BYTES; i++) bytes[DATA + i] = (char)(i % 251); // they are all zero
    path = test_write(&own_folder, "x.safetensors", bytes, DATA + BYTES);
    assert_true(safetensors_open(&file, path.text, &err));
    assert_int_equal(file.count, 1);
    assert_ptr_equal(file.entries[0].data, file.map.bytes + DATA);
    float *values = malloc(BYTES);
    assert_true(safetensors_read(&file, "test.weight.0", 64, 128, values, &err));
    assert_memory_equal(values, bytes + DATA, BYTES);
    free(values);
    free(bytes);
    safetensors_close(&file);
}

static void reads_other_dtypes_headers(void **state)
{
    (void)state;
    Safetensors file;
    Error err;
    TestPath path = test_data("stories260K/reference.safetensors");
    assert_true(safetensors_open(&file, path.text, &err));
    assert_int_equal(file.count, 2);
    assert_string_equal(safetensors_find(&file, "ids")->dtype, "I32");
    float id[32];
    assert_false(safetensors_read(&file, "ids", 1, 32, id, &err));
    assert_error(err, "reference.safetensors: tensor 'ids' is I32, expected F32, F16 or BF16");
    safetensors_close(&file);
}

static void refuses_other_formats(void **state)
{
    (void)state;
    Safetensors file;
    Error err;
    TestPath path = test_data("formats/gguf-tiny/tiny.gguf");
    assert_false(safetensors_open(&file, path.text, &err));
    assert_error(err, "tiny.gguf: header of 14"); // "GGUF" and a version read as a length
    assert_error(err, " bytes, expected at most 100000000");
}

static void accepts_odd_but_legal(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data, count;
    } FINE[] = {
        {"{}", 0, 0},
        {"{}      ", 0, 0},
        {"{\"__metadata__\":{}}", 0, 0},
        {"{\"__metadata__\":{\"format\":\"pt\",\"x\":\"\"}}  ", 0, 0},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, 1},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, 1},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0,9007199254740991,9007199254740991],"
         "\"data_offsets\":[0,0]}}",
         0, 1},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,3],\"data_offsets\":[0,3]}}", 3, 1},
        {"{\"a\":{\"dtype\":\"F4\",\"shape\":[6],\"data_offsets\":[0,3]}}", 3, 1},
        // Against the order of the data; an empty tensor where another begins; a field more.
        {"{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[4,6]},"
         "\"e\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[4,4],\"more\":[1]},"
         "\"a\":{\"data_offsets\":[0,4],\"shape\":[2],\"dtype\":\"I16\"}}",
         6, 3},
    };
    for (size_t i = 0; i < sizeof FINE / sizeof FINE[0]; i++) {
        Safetensors file;
        Error err;
        TestPath path = write_file(FINE[i].header, FINE[i].data);
        if (!safetensors_open(&file, path.text, &err)) fail_msg("%s", err.text);
        assert_int_equal(file.count, FINE[i].count);
        for (size_t k = 1; k < file.count; k++)
            assert_true(strcmp(file.entries[k - 1].name, file.entries[k].name) < 0);
        safetensors_close(&file);
    }
}

#define ENTRY(dtype, shape, offsets)                                                               \
    "{\"a\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(first, second)                                                                         \
    "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" first                               \
    "},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" second "}}"

// header, bytes of data, and what the message must say.
static const struct {
    const char *header;
    size_t data;
    const char *part;
} BAD[] = {
    {"", 0, "header does not start with '{'"},
    {" {}", 0, "header does not start with '{'"},
    {"[]", 0, "header does not start with '{'"},
    {"{", 0, "not JSON: syntax error"},
    {"{}}", 0, "unexpected text behind the value at byte 2"},
    {"{\"a\":1}", 0, "tensor 'a': its entry is not an object"},
    {"{\"a\":[]}", 0, "tensor 'a': its entry is not an object"},
    {"{\"__metadata__\":[]}", 0, "'__metadata__' must map strings to strings"},
    {"{\"__metadata__\":null}", 0, "'__metadata__' must map strings to strings"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "'__metadata__' must map strings to strings"},
    {"{\"__metadata__\":{\"a\":\"1\",\"b\":{}}}", 0, "'__metadata__' must map strings to strings"},
    {"{\"a\":{\"shape\":[],\"data_offsets\":[0,4]}}", 4, "tensor 'a': key 'dtype' is missing"},
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", 4, "tensor 'a': 'shape' must be a list"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4,
     "tensor 'a': 'data_offsets' must be a list of two whole numbers below 2^53"},
    {ENTRY("7", "[4]", "[0,4]"), 4, "tensor 'a': key 'dtype' must be a string"},
    {ENTRY("\"F33\"", "[1]", "[0,4]"), 4, "tensor 'a': unknown dtype 'F33'"},
    {ENTRY("\"f32\"", "[1]", "[0,4]"), 4, "unknown dtype 'f32'"},
    {ENTRY("\"\"", "[1]", "[0,4]"), 4, "unknown dtype ''"},
    {ENTRY("\"U8\"", "4", "[0,4]"), 4, "'shape' must be a list"},
    {ENTRY("\"U8\"", "[4.5]", "[0,4]"), 4, "'shape' must hold whole numbers"},
    {ENTRY("\"U8\"", "[-4]", "[0,4]"), 4, "'shape' must hold whole numbers"},
    {ENTRY("\"U8\"", "[\"4\"]", "[0,4]"), 4, "'shape' must hold whole numbers"},
    {ENTRY("\"U8\"", "[null]", "[0,4]"), 4, "'shape' must hold whole numbers"},
    {ENTRY("\"U8\"", "[9007199254740993]", "[0,4]"), 4,
     "'shape' must hold whole numbers from 0 to below 2^53"},
    {ENTRY("\"U8\"", "[1e999]", "[0,4]"), 4, "'shape' must hold whole numbers"},
    {ENTRY("\"U8\"", "[1,1,1,1,1,1,1,1,4]", "[0,4]"), 4, "'shape' has more than 8 dimensions"},
    // 2^32 * 2^32 and 2^61 * 8 would come round to 0.
    {ENTRY("\"U8\"", "[4294967296,4294967296]", "[0,0]"), 0, "the product of its shape overflows"},
    {ENTRY("\"F64\"", "[1099511627776,2097152]", "[0,0]"), 0, "the product of its shape overflows"},
    {ENTRY("\"F4\"", "[3]", "[0,1]"), 1, "its data is not a whole number of bytes"},
    {ENTRY("\"U8\"", "[4]", "4"), 4, "'data_offsets' must be a list of two"},
    {ENTRY("\"U8\"", "[4]", "[]"), 4, "'data_offsets' must be a list of two"},
    {ENTRY("\"U8\"", "[4]", "[4]"), 4, "'data_offsets' must be a list of two"},
    {ENTRY("\"U8\"", "[4]", "[0,4,4]"), 4, "'data_offsets' must be a list of two"},
    {ENTRY("\"U8\"", "[4]", "[0,4.5]"), 4, "'data_offsets' must be a list of two"},
    {ENTRY("\"U8\"", "[4]", "[-4,0]"), 4, "'data_offsets' must be a list of two"},
    {ENTRY("\"U8\"", "[4]", "[0,18446744073709551620]"), 4, "'data_offsets' must be a list of two"},
    {ENTRY("\"U8\"", "[4]", "[\"0\",\"4\"]"), 4, "'data_offsets' must be a list of two"},
    {ENTRY("\"U8\"", "[4]", "[4,0]"), 4,
     "tensor 'a': 'data_offsets' are [4, 0], outside the 4 bytes of data"},
    {ENTRY("\"U8\"", "[5]", "[0,5]"), 4, "'data_offsets' are [0, 5], outside the 4 bytes of data"},
    {ENTRY("\"U8\"", "[4]", "[4503599627370496,4503599627370500]"), 4,
     "'data_offsets' are [4503599627370496, 4503599627370500], outside the 4 bytes of data"},
    {ENTRY("\"F32\"", "[2]", "[0,4]"), 4,
     "tensor 'a': 'data_offsets' span 4 bytes, expected 8 from dtype and shape"},
    {ENTRY("\"U8\"", "[4]", "[0,4]"), 5, "tensors end at byte 4 of 5 bytes of data"},
    {"{}", 1, "tensors end at byte 0 of 1 bytes of data"},
    {ENTRY("\"U8\"", "[4]", "[1,5]"), 5,
     "tensor 'a' begins at byte 1 of the data, leaving a hole behind 0"},
    {TWO("[0,4]", "[5,9]"), 9, "tensor 'b' begins at byte 5 of the data, leaving a hole behind 4"},
    {TWO("[0,4]", "[3,7]"), 7,
     "tensor 'b' begins at byte 3 of the data, overlapping the one that ends at 4"},
    {TWO("[0,4]", "[0,4]"), 4, "begins at byte 0 of the data, overlapping the one that ends at 4"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[2,2]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
     4, "tensor 'a' begins at byte 2 of the data, overlapping"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
     0, "key 'a' stands twice in one object"},
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0,
     "key 'dtype' stands twice in one object"},
    {"{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0,
     "control character at byte 3"},
    {"{\"a\xc3(\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0,
     "invalid UTF-8 at byte 3"},
};

static void refuses_bad_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        TestPath path = write_file(BAD[i].header, BAD[i].data);
        assert_refused(&path, BAD[i].part);
    }
    TestPath path = write_bytes("{\"a\0\":{}}", 10, 0);
    assert_refused(&path, "control character at byte 3");
    path = write_bytes("{}\0", 3, 0);
    assert_refused(&path, "control character at byte 2");
}

static void refuses_bad_lengths(void **state)
{
    (void)state;
    static const struct {
        uint64_t length;
        const char *part;
    } LENGTHS[] = {
        {3, "header of 3 bytes passes the end of the file (10 bytes)"},
        {100000000, "header of 100000000 bytes passes the end of the file (10 bytes)"},
        {100000001, "header of 100000001 bytes, expected at most 100000000"},
        {UINT64_MAX, "header of 18446744073709551615 bytes, expected at most 100000000"},
        {UINT64_MAX - 7, "bytes, expected at most 100000000"}, // + 8 would be 0
    };
    uint8_t bytes[10] = "........{}";
    for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
        store_length(bytes, LENGTHS[i].length);
        TestPath path = test_write(&own_folder, "x.safetensors", bytes, sizeof bytes);
        assert_refused(&path, LENGTHS[i].part);
    }
    TestPath path = test_write(&own_folder, "x.safetensors", bytes, 7);
    assert_refused(&path, "7 bytes are too few for a safetensors file");
    path = test_write(&own_folder, "x.safetensors", bytes, 0);
    assert_refused(&path, "0 bytes are too few for a safetensors file");
    remove(path.text);
    assert_refused(&path, "cannot open: No such file");
    Safetensors file;
    Error err;
    assert_false(safetensors_open(&file, own_folder.text, &err));
    assert_error(err, "is not a regular file");
}

// Whatever opens must be consistent: in range, disjoint, findable by name.
static void check_consistent(const Safetensors *file)
{
    uint64_t used = 0;
    for (size_t i = 0; i < file->count; i++) {
        const SafetensorsEntry *entry = &file->entries[i];
        assert_ptr_equal(safetensors_find(file, entry->name), entry);
        assert_in_range((uintptr_t)entry->data, (uintptr_t)file->map.bytes + 8,
                        (uintptr_t)file->map.bytes + file->map.size - entry->size);
        used += entry->size;
    }
    assert_true(used <= file->map.size - 8);
}

static const char SMALL[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                            "\"w\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[0,12]},"
                            "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]}} ";

static void refuses_every_truncation(void **state)
{
    (void)state;
    Safetensors file;
    Error err;
    size_t size;
    TestPath path = write_file(SMALL, 20);
    assert_true(safetensors_open(&file, path.text, &err));
    safetensors_close(&file);
    char *bytes = test_read(path.text, &size);
    assert_int_equal(size, 8 + strlen(SMALL) + 20);
    for (size_t length = 0; length < size; length++) {
        path = test_write(&own_folder, "x.safetensors", bytes, length);
        assert_refused(&path, "x.safetensors: ");
    }
    free(bytes);
}

// The header alone in its last page: a parser that looks one byte too far would be caught.
static void parses_at_a_page_end(void **state)
{
    (void)state;
    Safetensors file;
    Error err;
    char header[4096 - 8];
    for (size_t cut = 0; cut < sizeof SMALL; cut++) {
        memset(header, ' ', sizeof header);
        header[0] = '{';
        memcpy(header + sizeof header - cut, SMALL, cut);
        TestPath path = write_bytes(header, sizeof header, 0);
        assert_false(safetensors_open(&file, path.text, &err));
    }
}

static void survives_bit_flips(void **state)
{
    (void)state;
    size_t size, opened = 0;
    TestPath path = write_file(SMALL, 20);
    char *bytes = test_read(path.text, &size);
    for (size_t bit = 0; bit < 8 * (size - 20); bit++) {
        Safetensors file;
        Error err = {{0}};
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
        path = test_write(&own_folder, "x.safetensors", bytes, size);
        if (safetensors_open(&file, path.text, &err)) {
            check_consistent(&file);
            safetensors_close(&file);
            opened++;
        } else {
            assert_error(err, "x.safetensors: ");
        }
        bytes[bit / 8] = (char)(bytes[bit / 8] ^ 1 << bit % 8);
    }
    assert_in_range(opened, 8, 400); // letters of names and of the metadata may change
    free(bytes);
}

// A header of 200,000 tensors, their data in reverse order: no step may be quadratic.
static void opens_many_tensors(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    char *header = malloc(COUNT * 80 + 2);
    size_t used = 0;
    for (int i = 0; i < COUNT; i++)
        used += (size_t)sprintf(
            header + used, "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}",
            i ? "," : "{", i, COUNT - 1 - i, COUNT - i);
    used += (size_t)sprintf(header + used, "}");
    TestPath path = write_bytes(header, used, COUNT);
    free(header);
    Safetensors file;
    Error err;
    if (!safetensors_open(&file, path.text, &err)) fail_msg("%s", err.text);
    assert_int_equal(file.count, COUNT);
    const SafetensorsEntry *entry = safetensors_find(&file, "t199998");
    assert_non_null(entry);
    assert_int_equal(entry->data[0], 1);
    safetensors_close(&file);
}

static void names_shapes_and_tensors(void **state)
{
    (void)state;
    Safetensors file;
    Error err;
    float out[6];
    TestPath path = write_file(SMALL, 20);
    assert_true(safetensors_open(&file, path.text, &err));
    assert_true(safetensors_read(&file, "w", 2, 3, out, &err));
    assert_true(safetensors_read(&file, "b", 1, 2, out, &err));
    assert_false(safetensors_read(&file, "w", 3, 2, out, &err));
    assert_error(err, "x.safetensors: tensor 'w' has shape [2, 3], expected [3, 2]");
    assert_false(safetensors_read(&file, "w", 1, 6, out, &err));
    assert_error(err, "tensor 'w' has shape [2, 3], expected [6]");
    assert_false(safetensors_read(&file, "b", 2, 1, out, &err));
    assert_error(err, "tensor 'b' has shape [2], expected [2, 1]");
    assert_false(safetensors_read(&file, "v", 1, 2, out, &err));
    assert_error(err, "x.safetensors: tensor 'v' is missing");
    safetensors_close(&file);
    path = write_file(ENTRY("\"U8\"", "[1,1,1,1,1,1,1,4]", "[0,4]"), 4);
    assert_true(safetensors_open(&file, path.text, &err));
    assert_false(safetensors_read(&file, "a", 1, 4, out, &err));
    assert_error(err, "tensor 'a' has shape [1, 1, 1, 1, 1, 1, 1, 4], expected [4]");
    safetensors_close(&file);
    path = write_file(ENTRY("\"F64\"", "[1]", "[0,8]"), 8);
    assert_true(safetensors_open(&file, path.text, &err));
    assert_false(safetensors_read(&file, "a", 1, 1, out, &err));
    assert_error(err, "tensor 'a' is F64, expected F32, F16 or BF16");
    safetensors_close(&file);
}

// What an IEEE pattern of so many exponent and mantissa bits means, by the definition.
static double value_of(uint32_t pattern, int exponent_bits, int mantissa_bits)
{
    int bias = (1 << (exponent_bits - 1)) - 1;
    int exponent = (int)(pattern >> mantissa_bits) & ((1 << exponent_bits) - 1);
    double mantissa = pattern & ((1u << mantissa_bits) - 1);
    double sign = pattern >> 15 ? -1 : 1;
    if (exponent == (1 << exponent_bits) - 1) return mantissa > 0 ? NAN : sign * INFINITY;
    if (exponent == 0) return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * ldexp(mantissa + (1u << mantissa_bits), exponent - bias - mantissa_bits);
}

static void check_all_patterns(const char *dtype, int exponent_bits, int mantissa_bits)
{
    enum { COUNT = 65536 };
    char header[128];
    Safetensors file;
    Error err;
    // The odd length of the header makes the data unaligned.
    int size = snprintf(
        header, sizeof header,
        "{\"a\":{\"dtype\":\"%s\",\"shape\":[256,256],\"data_offsets\":[0,131072]}}", dtype);
    if (size % 2 == 0) header[size++] = ' ';
    uint8_t *bytes = malloc(8 + (size_t)size + 2 * COUNT);
    store_length(bytes, (uint64_t)size);
    memcpy(bytes + 8, header, (size_t)size);
    for (int i = 0; i < COUNT; i++) {
        bytes[8 + size + 2 * i] = (uint8_t)i;
        bytes[8 + size + 2 * i + 1] = (uint8_t)(i >> 8);
    }
    TestPath path = test_write(&own_folder, "x.safetensors", bytes, 8 + (size_t)size + 2 * COUNT);
    free(bytes);
    assert_true(safetensors_open(&file, path.text, &err));
    float *values = malloc(COUNT * sizeof *values);
    assert_true(safetensors_read(&file, "a", 256, 256, values, &err));
    for (uint32_t i = 0; i < COUNT; i++) {
        double expected = value_of(i, exponent_bits, mantissa_bits);
        bool same = isnan(expected) ? isnan(values[i]) : values[i] == expected;
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        if (!same || bits >> 31 != i >> 15) fail_msg("%s %04x became %08x", dtype, i, bits);
        // A NaN keeps its payload, so that the two NaNs of a file stay two.
        if (isnan(expected))
            assert_int_equal(bits >> (23 - mantissa_bits) & ((1u << mantissa_bits) - 1),
                             i & ((1u << mantissa_bits) - 1));
    }
    free(values);
    safetensors_close(&file);
}

static void converts_every_f16(void **state)
{
    (void)state;
    check_all_patterns("F16", 5, 10);
}

static void converts_every_bf16(void **state)
{
    (void)state;
    check_all_patterns("BF16", 8, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_real_files),           TEST(reads_unaligned_data),
        TEST(reads_other_dtypes_headers), TEST(refuses_other_formats),
        TEST(accepts_odd_but_legal),      TEST(refuses_bad_headers),
        TEST(refuses_bad_lengths),        TEST(refuses_every_truncation),
        TEST(parses_at_a_page_end),       TEST(survives_bit_flips),
        TEST(opens_many_tensors),         TEST(names_shapes_and_tensors),
        TEST(converts_every_f16),         TEST(converts_every_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
