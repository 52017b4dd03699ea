// The weights of a folder: one file or shards, which of them wins, and every way in which an index
// can be wrong.
#define _POSIX_C_SOURCE 200809L // symlink
#include "model/weight_files.h"
#include "support/files.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define INDEX "model.safetensors.index.json"

// FOLDER/name with tensors of two values each: the letters of `letters`, their values `first`,
// first + 1, ...
static void write_shard(const char *name, const char *letters, float first)
{
    char names[8][2] = {{0}};
    SafetensorsTensor tensors[8] = {{0}};
    size_t count = strlen(letters);
    Error err;
    for (size_t i = 0; i < count; i++) {
        names[i][0] = letters[i];
        tensors[i] = (SafetensorsTensor){names[i], 1, {2}};
    }
    SafetensorsWriter *writer =
        safetensors_create(test_path(own_folder.text, name).text, tensors, count, &err);
    if (!writer) fail_msg("%s", err.text);
    for (size_t i = 0; i < 2 * count; i++) {
        const float value = first + (float)i;
        safetensors_put(writer, &value, 1);
    }
    if (!safetensors_commit(writer, &err)) fail_msg("%s", err.text);
}

static void write_map(const char *map)
{
    char text[512];
    snprintf(text, sizeof text, "{\"metadata\":{\"total_size\":40},\"weight_map\":%s}", map);
    test_write_text(&own_folder, INDEX, text);
}

static WeightFiles open_checkpoint(void)
{
    WeightFiles checkpoint;
    Error err;
    if (!weight_files_open(&checkpoint, own_folder.text, &err)) fail_msg("%s", err.text);
    return checkpoint;
}

static void assert_value(const WeightFiles *checkpoint, const char *name, float first)
{
    float values[2];
    Error err;
    if (!weight_files_read(checkpoint, name, 1, 2, values, &err)) fail_msg("%s", err.text);
    assert_true(values[0] == first && values[1] == first + 1);
}

static void assert_refused(const char *part)
{
    WeightFiles checkpoint;
    Error err;
    if (weight_files_open(&checkpoint, own_folder.text, &err))
        fail_msg("accepted, expected: %s", part);
    assert_error(err, part);
    assert_null(checkpoint.shards);
    assert_null(checkpoint.tensors);
}

static void reads_shards(void **state)
{
    (void)state;
    write_shard("one.safetensors", "zb", 10);
    write_shard("two.safetensors", "a", 20);
    write_map("{\"a\":\"two.safetensors\",\"b\":\"one.safetensors\",\"z\":\"one.safetensors\"}");
    WeightFiles checkpoint = open_checkpoint();
    assert_int_equal(checkpoint.shard_count, 2);
    assert_value(&checkpoint, "z", 10);
    assert_value(&checkpoint, "b", 12);
    assert_value(&checkpoint, "a", 20);
    Error err;
    float values[4];
    assert_false(weight_files_read(&checkpoint, "c", 1, 2, values, &err));
    assert_error(err, INDEX ": tensor 'c' is missing");
    assert_false(weight_files_read(&checkpoint, "a", 2, 2, values, &err));
    assert_error(err, "two.safetensors: tensor 'a' has shape [2], expected [2, 2]");
    weight_files_close(&checkpoint);
}

static void one_file_wins_over_an_index(void **state)
{
    (void)state;
    write_shard("one.safetensors", "a", 10);
    write_map("{\"a\":\"one.safetensors\"}");
    WeightFiles checkpoint = open_checkpoint();
    assert_value(&checkpoint, "a", 10);
    weight_files_close(&checkpoint);
    write_shard("model.safetensors", "a", 20);
    test_write_text(&own_folder, INDEX, "not even JSON");
    checkpoint = open_checkpoint();
    assert_value(&checkpoint, "a", 20);
    Error err;
    float values[2];
    assert_false(weight_files_read(&checkpoint, "b", 1, 2, values, &err));
    assert_error(err, "model.safetensors: tensor 'b' is missing");
    weight_files_close(&checkpoint);
    test_write_text(&own_folder, "model.safetensors", "short");
    assert_refused("model.safetensors: 5 bytes are too few for a safetensors file");
}

static void refuses_folders_without_weights(void **state)
{
    (void)state;
    assert_refused(": holds no model.safetensors and no " INDEX);
    char name[2000];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0;
    WeightFiles checkpoint;
    Error err;
    assert_false(weight_files_open(&checkpoint, name, &err));
    assert_error(err, "path is too long");
}

static void refuses_wrong_indexes(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        {"", INDEX ": not JSON"},
        {"{\"weight_map\":{", INDEX ": not JSON"},
        {"[]", INDEX ": is not a JSON object"},
        {"7", INDEX ": is not a JSON object"},
        {"{}", INDEX ": 'weight_map' must be an object that names the shard of each tensor"},
        {"{\"weight_map\":null}", INDEX ": 'weight_map' must be an object"},
        {"{\"weight_map\":[\"one.safetensors\"]}", INDEX ": 'weight_map' must be an object"},
        {"{\"weight_map\":\"one.safetensors\"}", INDEX ": 'weight_map' must be an object"},
        {"{\"weight_map\":{}}", INDEX ": 'weight_map' names no shard"},
        {"{\"weight_map\":{\"a\":\"one.safetensors\"},\"weight_map\":{}}",
         INDEX ": key 'weight_map' stands twice"},
        {"{\"weight_map\":{\"a\":\"one.safetensors\",\"a\":\"two.safetensors\"}}",
         INDEX ": key 'a' stands twice"},
        {"{\"weight_map\":{\"a\":\"one.safetensors\\u0000\"}}",
         INDEX ": not JSON that is read here"},
    };
    write_shard("one.safetensors", "a", 10);
    write_shard("two.safetensors", "b", 20);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        test_write_text(&own_folder, INDEX, texts[i][0]);
        assert_refused(texts[i][1]);
    }
}

// Each would open the good shard of the folder, or one outside of it, if it were followed.
static void refuses_file_names_that_are_not_plain(void **state)
{
    (void)state;
    static const char *const names[] = {"\"\"",
                                        "\".\"",
                                        "\"..\"",
                                        "\"../one.safetensors\"",
                                        "\"./one.safetensors\"",
                                        "\"sub/one.safetensors\"",
                                        "\"/one.safetensors\"",
                                        "\"one.safetensors/\"",
                                        "\"one.safetensors/..\"",
                                        "\"..\\\\one.safetensors\"",
                                        "\"\\u002e\\u002e\\u002fone.safetensors\"",
                                        "\".safetensors\"",
                                        "\"one.bin\"",
                                        "\"one\"",
                                        "7",
                                        "null",
                                        "[\"one.safetensors\"]",
                                        "{}"};
    write_shard("one.safetensors", "a", 10);
    write_shard("two.safetensors", "b", 20);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char map[256];
        snprintf(map, sizeof map, "{\"b\":\"two.safetensors\",\"a\":%s}", names[i]);
        write_map(map);
        assert_refused(INDEX ": 'weight_map' has tensor 'a' in '");
        assert_refused("expected the plain name of a shard (*.safetensors)");
    }
}

static void refuses_shards_that_disagree(void **state)
{
    (void)state;
    write_shard("one.safetensors", "ab", 10);
    write_map("{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}");
    assert_refused(INDEX ": its shard 'two.safetensors' is missing");
    write_shard("two.safetensors", "c", 20);
    assert_refused(INDEX ": tensor 'b' is missing from its shard 'two.safetensors'");
    write_map("{\"a\":\"one.safetensors\",\"d\":\"two.safetensors\"}");
    assert_refused(INDEX ": tensor 'd' is missing from its shard 'two.safetensors'");
    write_shard("two.safetensors", "cb", 20);
    write_map("{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}");
    assert_refused(INDEX ": tensor 'b' lies in two shards, '");
    test_write_text(&own_folder, "two.safetensors", "short");
    assert_refused("two.safetensors: 5 bytes are too few for a safetensors file");
    unlink(test_path(own_folder.text, "two.safetensors").text);
    if (symlink("one.safetensors", test_path(own_folder.text, "two.safetensors").text)) fail();
    assert_refused("lies in two shards");
}

// What no index names may still be read, as other programs do it that read whole shards.
static void reads_what_the_index_leaves_out(void **state)
{
    (void)state;
    write_shard("one.safetensors", "ab", 10);
    write_map("{\"a\":\"one.safetensors\"}");
    WeightFiles checkpoint = open_checkpoint();
    assert_value(&checkpoint, "b", 12);
    weight_files_close(&checkpoint);
}

// A shard for each of many tensors.
static void opens_many_shards(void **state)
{
    (void)state;
    enum { SHARDS = 26 };
    char text[SHARDS * 64], name[64];
    size_t used = (size_t)snprintf(text, sizeof text, "{\"weight_map\":{");
    for (int i = 0; i < SHARDS; i++) {
        const char tensor[2] = {(char)('a' + i), 0};
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", i + 1, SHARDS);
        write_shard(name, tensor, (float)i);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s\"%s\":\"%s\"", i ? "," : "",
                                 tensor, name);
    }
    snprintf(text + used, sizeof text - used, "}}");
    test_write_text(&own_folder, INDEX, text);
    WeightFiles checkpoint = open_checkpoint();
    assert_int_equal(checkpoint.shard_count, SHARDS);
    for (int i = 0; i < SHARDS; i++)
        assert_value(&checkpoint, (const char[]){(char)('a' + i), 0}, (float)i);
    weight_files_close(&checkpoint);
}

// The index of a 13B checkpoint, whose shards are not there.
static void refuses_13b(void **state)
{
    (void)state;
    WeightFiles checkpoint;
    Error err;
    TestPath data = test_data("formats/llama2-13b");
    assert_false(weight_files_open(&checkpoint, data.text, &err));
    assert_error(err, INDEX ": its shard 'model-00001-of-00002.safetensors' is missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_shards),
        TEST(one_file_wins_over_an_index),
        TEST(refuses_folders_without_weights),
        TEST(refuses_wrong_indexes),
        TEST(refuses_file_names_that_are_not_plain),
        TEST(refuses_shards_that_disagree),
        TEST(reads_what_the_index_leaves_out),
        TEST(opens_many_shards),
        TEST(refuses_13b),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
