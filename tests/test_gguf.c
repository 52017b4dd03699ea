// GGUF files, the container: bytes by the specification are read, what this code writes is those
// very bytes, and every kind of damage ends in one message. Not what keys mean (test_gguf_model.c).
#include "model/gguf_write.h"
#include "support/files.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- files by hand -----------------------------------------------------------------------------

typedef struct {
    uint8_t bytes[4096]; // (size)
    size_t size;
} Bytes;

static void put(Bytes *b, const void *bytes, size_t size)
{
    assert_true(b->size + size <= sizeof b->bytes);
    memcpy(b->bytes + b->size, bytes, size);
    b->size += size;
}

// An integer of so many bytes, little endian whatever the machine is.
static void put_int(Bytes *b, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) put(b, &(uint8_t){(uint8_t)(value >> 8 * i)}, 1);
}

static void put_text(Bytes *b, const char *text)
{
    put_int(b, strlen(text), 8);
    put(b, text, strlen(text));
}

static void put_header(Bytes *b, uint32_t version, uint64_t tensors, uint64_t values)
{
    *b = (Bytes){0};
    put(b, "GGUF", 4);
    put_int(b, version, 4);
    put_int(b, tensors, 8);
    put_int(b, values, 8);
}

static void put_key(Bytes *b, const char *key, uint32_t type)
{
    put_text(b, key);
    put_int(b, type, 4);
}

static void put_tensor(Bytes *b, const char *name, uint64_t cols, uint64_t rows, uint32_t type,
                       uint64_t offset)
{
    put_text(b, name);
    put_int(b, rows ? 2 : 1, 4);
    put_int(b, cols, 8);
    if (rows) put_int(b, rows, 8);
    put_int(b, type, 4);
    put_int(b, offset, 8);
}

static void pad(Bytes *b, size_t alignment)
{
    while (b->size % alignment) put_int(b, 0, 1);
}

static TestPath write_bytes(const Bytes *b)
{
    return test_write(&own_folder, "x.gguf", b->bytes, b->size);
}

static void check_refused(const Bytes *b, const char *part)
{
    Gguf file;
    Error err = {""};
    TestPath path = write_bytes(b);
    assert_false(gguf_open(&file, path.text, &err));
    assert_error(err, part);
    assert_error(err, "x.gguf");
    assert_null(file.map.bytes);
}

static Gguf open_bytes(const Bytes *b)
{
    Gguf file;
    Error err;
    TestPath path = write_bytes(b);
    if (!gguf_open(&file, path.text, &err)) fail_msg("%s", err.text);
    return file;
}

// A file with a key of every kind and two tensors; 64 its alignment.
static void put_sample(Bytes *b, uint32_t version)
{
    put_header(b, version, 2, 6);
    put_key(b, "general.alignment", GGUF_U32);
    put_int(b, 64, 4);
    put_key(b, "i", GGUF_I8);
    put_int(b, 0xFE, 1);
    put_key(b, "list", GGUF_ARRAY);
    put_int(b, GGUF_STRING, 4);
    put_int(b, 3, 8);
    put_text(b, "a");
    put_text(b, "");
    put_text(b, "bc");
    put_key(b, "real", GGUF_F32);
    put_int(b, 0x3FC00000, 4);
    put_key(b, "text", GGUF_STRING);
    put_text(b, "llama");
    put_key(b, "yes", GGUF_BOOL);
    put_int(b, 1, 1);
    put_tensor(b, "m", 3, 2, 0, 0);
    put_tensor(b, "h", 2, 0, 30, 64);
    pad(b, 64);
    for (uint32_t i = 0; i < 6; i++) put_int(b, 0x3F800000 + i, 4);
    pad(b, 64);
    put_int(b, 0x3F80, 2);
    put_int(b, 0x4000, 2);
}

static void reads_bytes(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        Bytes b;
        Error err;
        put_sample(&b, version);
        Gguf file = open_bytes(&b);
        assert_int_equal(file.value_count, 6);
        assert_int_equal(file.tensor_count, 2);
        const GgufTensor *m = gguf_find_tensor(&file, "m"), *h = gguf_find_tensor(&file, "h");
        assert_int_equal(m->rank, 2);
        assert_int_equal(m->shape[0], 2);
        assert_int_equal(m->shape[1], 3);
        assert_int_equal(m->size, 24);
        assert_int_equal(m->data[20], 5);
        assert_int_equal(h->dtype, DTYPE_BF16);
        assert_int_equal(h->data[3], 0x40);
        assert_null(gguf_find_tensor(&file, "x"));
        double real;
        bool yes;
        GgufText text;
        const GgufValue *list;
        assert_true(gguf_number_or(&real, &file, "real", 0, &err));
        assert_true(real == 1.5);
        assert_true(gguf_bool_or(&yes, &file, "yes", false, &err) && yes);
        assert_true(gguf_text_or(&text, &file, "text", &err) && gguf_text_is(text, "llama"));
        assert_true(gguf_array_or(&list, &file, "list", GGUF_STRING, &err));
        assert_int_equal(list->count, 3);
        const uint8_t *at = list->data;
        assert_true(gguf_text_is(gguf_next_text(&at), "a"));
        assert_true(gguf_text_is(gguf_next_text(&at), ""));
        assert_true(gguf_text_is(gguf_next_text(&at), "bc"));
        gguf_close(&file);
    }
}

// ---- damage ------------------------------------------------------------------------------------

static void refuses_every_truncation(void **state)
{
    (void)state;
    Bytes b;
    put_sample(&b, 3);
    for (size_t size = b.size; size-- > 0;) {
        Bytes cut = b;
        cut.size = size;
        check_refused(&cut, size < 4 ? "GGUF" : "");
    }
}

// Whatever one byte says instead, the file opens or one message says why not: nothing else.
static void survives_every_byte(void **state)
{
    (void)state;
    Bytes b;
    put_sample(&b, 3);
    for (size_t i = 0; i < b.size; i++)
        for (int bit = 0; bit < 8; bit++) {
            Gguf file;
            Error err = {""};
            Bytes other = b;
            other.bytes[i] ^= (uint8_t)(1 << bit);
            TestPath path = write_bytes(&other);
            if (gguf_open(&file, path.text, &err))
                gguf_close(&file);
            else
                assert_error(err, "x.gguf");
        }
}

static void refuses_headers(void **state)
{
    (void)state;
    Bytes b;
    put_header(&b, 1, 0, 0);
    check_refused(&b, "version 1, expected 2 or 3");
    put_header(&b, 4, 0, 0);
    check_refused(&b, "version 4");
    put_header(&b, 0x03000000, 0, 0);
    check_refused(&b, "big-endian");
    put_header(&b, 3, UINT64_MAX, 0);
    check_refused(&b, "do not fit");
    put_header(&b, 3, 0, UINT64_MAX);
    check_refused(&b, "do not fit");
    put_header(&b, 3, 1, 1);
    check_refused(&b, "do not fit");
    put_header(&b, 3, 0, UINT64_MAX / 14 + 2);
    check_refused(&b, "do not fit");
    b.bytes[0] = 'g';
    check_refused(&b, "does not begin with 'GGUF'");
}

static void refuses_keys(void **state)
{
    (void)state;
    Bytes b;
    put_header(&b, 3, 0, 2);
    put_key(&b, "twice", GGUF_U32);
    put_int(&b, 1, 4);
    put_key(&b, "twice", GGUF_U8);
    put_int(&b, 1, 1);
    check_refused(&b, "key 'twice' stands twice");
    put_header(&b, 3, 0, 1);
    put_key(&b, "k", 13);
    put_int(&b, 0, 8);
    check_refused(&b, "key 'k' has the unknown type 13");
    put_header(&b, 3, 0, 1);
    put_key(&b, "", GGUF_U8);
    put_int(&b, 0, 8);
    check_refused(&b, "a name of 0 bytes");
    put_header(&b, 3, 0, 1);
    put_int(&b, UINT64_MAX, 8);
    put_int(&b, 0, 8);
    check_refused(&b, "expected 1 to 65535");
    put_header(&b, 3, 0, 1);
    put_key(&b, "a\nb", GGUF_U8);
    put_int(&b, 0, 8);
    check_refused(&b, "control character");
    put_header(&b, 3, 0, 1);
    put_key(&b, "flag", GGUF_BOOL);
    put_int(&b, 2, 1);
    check_refused(&b, "key 'flag' is a bool of value 2");
    put_header(&b, 3, 0, 1);
    put_key(&b, "text", GGUF_STRING);
    put_int(&b, UINT64_MAX - 7, 8);
    put_int(&b, 0, 8);
    check_refused(&b, "within key 'text'");
}

static void refuses_arrays(void **state)
{
    (void)state;
    static const uint64_t counts[] = {5, UINT64_MAX, UINT64_MAX / 8 + 2, 1ull << 40};
    Bytes b;
    for (size_t i = 0; i < 4; i++)
        for (uint32_t type = 0; type < GGUF_TYPES; type++) {
            if (type == GGUF_ARRAY) continue;
            put_header(&b, 3, 0, 1);
            put_key(&b, "many", GGUF_ARRAY);
            put_int(&b, type, 4);
            put_int(&b, counts[i], 8);
            put_int(&b, 0, 4);
            check_refused(&b, "'many'");
        }
    put_header(&b, 3, 0, 1);
    put_key(&b, "nested", GGUF_ARRAY);
    put_int(&b, GGUF_ARRAY, 4);
    put_int(&b, 1, 8);
    put_int(&b, 0, 8);
    check_refused(&b, "'nested' is an array of arrays");
}

// One tensor [8] F32 and what its entry says.
static void check_tensor(const char *name, uint32_t rank, uint64_t cols, uint32_t type,
                         uint64_t offset, const char *part)
{
    Bytes b;
    put_header(&b, 3, 1, 0);
    put_text(&b, name);
    put_int(&b, rank, 4);
    for (uint32_t i = 0; i < rank; i++) put_int(&b, i ? 1ull << 31 : cols, 8);
    put_int(&b, type, 4);
    put_int(&b, offset, 8);
    pad(&b, 32);
    for (int i = 0; i < 8; i++) put_int(&b, 0, 4);
    if (part)
        check_refused(&b, part);
    else
        gguf_close(&(Gguf[]){open_bytes(&b)}[0]);
}

static void refuses_tensors(void **state)
{
    (void)state;
    char longest[66];
    memset(longest, 'n', sizeof longest);
    longest[64] = 0;
    check_tensor(longest, 1, 8, 0, 0, NULL);
    longest[64] = 'n';
    longest[65] = 0;
    check_tensor(longest, 1, 8, 0, 0, "a name of 65 bytes, expected 1 to 64");
    check_tensor("t", 0, 8, 0, 0, "0 dimensions");
    check_tensor("t", 5, 8, 0, 0, "5 dimensions");
    check_tensor("t", 1, 0, 0, 0, "dimension of 0");
    check_tensor("t", 4, 8, 0, 0, "product of its shape overflows");
    check_tensor("t", 1, UINT64_MAX, 0, 0, "overflows");
    check_tensor("t", 1, UINT64_MAX / 4 + 1, 0, 0, "overflows");
    check_tensor("t", 1, 9, 0, 0, "passes the end");
    check_tensor("t", 1, 8, 0, 4, "expected a multiple of 32");
    check_tensor("t", 1, 8, 0, 32, "passes the end");
    check_tensor("t", 1, 8, 0, UINT64_MAX - 31, "passes the end");
    check_tensor("t", 1, 8, 31, 0, "type 31 (unknown)");
    check_tensor("t", 1, 8, 13, 0, "type 13 (Q5_K)");
    check_tensor("t", 1, 8, 8, 0, "expected a multiple of 32 for Q8_0");
    check_tensor("t", 1, 128, 12, 0, "expected a multiple of 256 for Q4_K");
}

static void refuses_places(void **state)
{
    (void)state;
    Bytes b;
    put_header(&b, 3, 2, 0);
    put_tensor(&b, "a", 8, 2, 0, 0);
    put_tensor(&b, "b", 8, 0, 0, 32);
    pad(&b, 32);
    for (int i = 0; i < 32; i++) put_int(&b, 0, 4);
    check_refused(&b, "tensors 'a' and 'b' overlap");
    put_header(&b, 3, 2, 0);
    put_tensor(&b, "a", 8, 0, 0, 0);
    put_tensor(&b, "a", 8, 0, 0, 32);
    pad(&b, 32);
    for (int i = 0; i < 16; i++) put_int(&b, 0, 4);
    check_refused(&b, "tensor 'a' stands twice");
    static const uint32_t wrong[] = {0, 4, 24, 1 << 21, UINT32_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put_header(&b, 3, 0, 1);
        put_key(&b, "general.alignment", GGUF_U32);
        put_int(&b, wrong[i], 4);
        check_refused(&b, "'general.alignment'");
    }
}

static void refuses_truncated_file(void **state)
{
    (void)state;
    Gguf file;
    Error err = {""};
    assert_false(gguf_open(&file, test_data("formats/gguf-tiny/tiny.gguf").text, &err));
    assert_error(err, "tiny.gguf");
}

// ---- getters -----------------------------------------------------------------------------------

static void refuses_other_types(void **state)
{
    (void)state;
    Bytes b;
    Error err;
    uint64_t whole;
    double real;
    bool flag;
    GgufText text;
    const GgufValue *list;
    put_sample(&b, 3);
    Gguf file = open_bytes(&b);
    assert_false(gguf_int(&whole, &file, "absent", 0, 9, &err));
    assert_error(err, "key 'absent' is missing");
    assert_false(gguf_int(&whole, &file, "real", 0, 9, &err));
    assert_error(err, "key 'real' is f32, expected an integer");
    assert_false(gguf_int(&whole, &file, "i", 0, 9, &err));
    assert_error(err, "key 'i' is -2, expected 0 to 9");
    assert_false(gguf_int(&whole, &file, "general.alignment", 65, 99, &err));
    assert_error(err, "is 64, expected 65 to 99");
    assert_true(gguf_int(&whole, &file, "general.alignment", 64, 64, &err) && whole == 64);
    assert_true(gguf_int_or(&whole, &file, "absent", 7, 0, 1, &err) && whole == 7);
    assert_false(gguf_number_or(&real, &file, "text", 1, &err));
    assert_error(err, "key 'text' is string, expected f32 or f64");
    assert_false(gguf_bool_or(&flag, &file, "i", true, &err));
    assert_error(err, "expected bool");
    assert_false(gguf_text_or(&text, &file, "list", &err));
    assert_error(err, "key 'list' is an array of string, expected string");
    assert_false(gguf_array_or(&list, &file, "list", GGUF_F32, &err));
    assert_error(err, "expected an array of f32");
    assert_false(gguf_array_or(&list, &file, "text", GGUF_STRING, &err));
    assert_true(gguf_text_or(&text, &file, "absent", &err) && !text.text);
    gguf_close(&file);
}

static void reads_integers_of_any_width(void **state)
{
    (void)state;
    static const struct {
        uint32_t type;
        int bytes;
    } types[] = {{GGUF_U8, 1},  {GGUF_I8, 1},  {GGUF_U16, 2}, {GGUF_I16, 2},
                 {GGUF_U32, 4}, {GGUF_I32, 4}, {GGUF_U64, 8}, {GGUF_I64, 8}};
    for (int i = 0; i < 8; i++) {
        Bytes b;
        Error err;
        uint64_t value;
        put_header(&b, 3, 0, 2);
        put_key(&b, "low", types[i].type);
        put_int(&b, 0x65, types[i].bytes);
        put_key(&b, "high", types[i].type);
        put_int(&b, UINT64_MAX, types[i].bytes);
        Gguf file = open_bytes(&b);
        assert_true(gguf_int(&value, &file, "low", 0, UINT64_MAX, &err) && value == 0x65);
        bool is_signed = i % 2;
        assert_int_equal(gguf_int(&value, &file, "high", 0, UINT64_MAX, &err), !is_signed);
        if (is_signed) assert_error(err, "is -1,");
        gguf_close(&file);
    }
}

// ---- writing -----------------------------------------------------------------------------------

static GgufWriter *begin(const char *path)
{
    Error err;
    GgufWriter *writer = gguf_create(path, &err);
    if (!writer) fail_msg("%s", err.text);
    return writer;
}

static void writes_exact_bytes(void **state)
{
    (void)state;
    Bytes b;
    Error err;
    const float m[6] = {1, 2, 3, 4, 5, 6}, list[2] = {-1, 0.5f};
    const uint16_t h[2] = {0x3F80, 0x4000};
    put_header(&b, 3, 2, 5);
    put_key(&b, "u", GGUF_U32);
    put_int(&b, 7, 4);
    put_key(&b, "f", GGUF_F32);
    put_int(&b, 0x3FC00000, 4);
    put_key(&b, "t", GGUF_STRING);
    put_text(&b, "words");
    put_key(&b, "list", GGUF_ARRAY);
    put_int(&b, GGUF_F32, 4);
    put_int(&b, 2, 8);
    put(&b, list, sizeof list);
    put_key(&b, "no", GGUF_BOOL);
    put_int(&b, 0, 1);
    put_tensor(&b, "m", 3, 2, 0, 0);
    put_tensor(&b, "h", 2, 0, 30, 32);
    pad(&b, 32);
    put(&b, m, sizeof m);
    pad(&b, 32);
    put(&b, h, sizeof h);
    pad(&b, 32);

    TestPath path = test_path(own_folder.text, "y.gguf");
    GgufWriter *w = begin(path.text);
    gguf_put_u32(w, "u", 7);
    gguf_put_f32(w, "f", 1.5f);
    gguf_put_text(w, "t", "words", 5);
    gguf_put_array(w, "list", GGUF_F32, 2);
    gguf_put_elements(w, list, sizeof list);
    gguf_put_bool(w, "no", false);
    assert_true(gguf_declare(w, "m", DTYPE_F32, 2, (uint64_t[]){2, 3}, &err));
    assert_true(gguf_declare(w, "h", DTYPE_BF16, 1, (uint64_t[]){2}, &err));
    assert_true(gguf_begin_data(w, &err));
    gguf_put_data(w, m, 12);
    gguf_put_data(w, m + 3, 12);
    gguf_put_data(w, h, 4);
    assert_int_equal(test_folder_count(own_folder.text), 1);
    if (!gguf_commit(w, &err)) fail_msg("%s", err.text);
    size_t size;
    char *bytes = test_read(path.text, &size);
    assert_int_equal(size, b.size);
    assert_memory_equal(bytes, b.bytes, size);
    free(bytes);
    assert_int_equal(test_folder_count(own_folder.text), 1);
}

static void refuses_wrong_data(void **state)
{
    (void)state;
    Error err = {""};
    const float values[8] = {0};
    TestPath path = test_path(own_folder.text, "y.gguf");
    for (int more = 0; more < 2; more++) {
        GgufWriter *w = begin(path.text);
        assert_true(gguf_declare(w, "m", DTYPE_F32, 1, (uint64_t[]){4}, &err));
        assert_true(gguf_begin_data(w, &err));
        gguf_put_data(w, values, more ? 20 : 12);
        assert_false(gguf_commit(w, &err));
        assert_error(err, more ? "more data were put" : "less data were put");
        assert_int_equal(test_folder_count(own_folder.text), 0);
    }
}

static void refuses_declarations(void **state)
{
    (void)state;
    Error err = {""};
    TestPath path = test_path(own_folder.text, "y.gguf");
    GgufWriter *w = begin(path.text);
    assert_false(gguf_declare(w, "", DTYPE_F32, 1, (uint64_t[]){4}, &err));
    assert_error(err, "name of 0 bytes");
    assert_false(gguf_declare(w, "q", DTYPE_Q8_0, 2, (uint64_t[]){32, 33}, &err));
    assert_error(err, "'q' has a shape that Q8_0 cannot have");
    assert_false(gguf_declare(w, "l", DTYPE_F32, 2, (uint64_t[]){1ull << 33, 1ull << 33}, &err));
    assert_error(err, "'l' has a shape");
    gguf_abort(w);
    gguf_abort(NULL);
    assert_int_equal(test_folder_count(own_folder.text), 0);
    assert_null(gguf_create(test_path(own_folder.text, "none/y.gguf").text, &err));
    assert_error(err, "cannot write");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_bytes),
        TEST(refuses_every_truncation),
        TEST(survives_every_byte),
        TEST(refuses_headers),
        TEST(refuses_keys),
        TEST(refuses_arrays),
        TEST(refuses_tensors),
        TEST(refuses_places),
        TEST(refuses_truncated_file),
        TEST(refuses_other_types),
        TEST(reads_integers_of_any_width),
        TEST(writes_exact_bytes),
        TEST(refuses_wrong_data),
        TEST(refuses_declarations),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
