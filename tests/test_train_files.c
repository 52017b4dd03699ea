// Training on several files of several formats: which records a run draws, that a plain list is one
// pass over everything, what is said of each file, and the cache that runs share.
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"
#include "support/device.h"
#include "support/models.h"
#include "train/trainer.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_STEPS = 100, MOST_ROWS = 200 };

typedef struct {
    uint64_t tokens[MOST_STEPS]; // (steps) rows of each
    size_t steps;
    char notes[8192];
    size_t validations;
} Told;

static void on_step(void *user, const StepReport *report)
{
    Told *told = user;
    assert_true(told->steps < MOST_STEPS && report->tokens < MOST_ROWS);
    assert_true(report->supervised && report->supervised <= report->tokens);
    told->tokens[told->steps++] = report->tokens;
}

static void on_note(void *user, const char *line)
{
    Told *told = user;
    size_t used = strlen(told->notes);
    snprintf(told->notes + used, sizeof told->notes - used, "%s\n", line);
}

static void on_valid(void *user, uint64_t step, const DepthScore *scores, uint32_t count)
{
    Told *told = user;
    (void)step;
    for (uint32_t i = 0; i < count; i++) assert_true(scores[i].loss > 0);
    told->validations++;
}

// Trains OWN_FOLDER/model, a record a step. data and rest may name files with @/.
static bool try_run(Told *told, const char *data, const char *rest, Error *err)
{
    char text[8192], *to = text;
    char pattern[4096];
    snprintf(pattern, sizeof pattern,
             "{\"model\":\"@/model\",\"out\":\"@/out\",\"exits\":[2],\"batch_size\":1,"
             "\"grad_accum\":1,\"learning_rate\":0,\"data\":%s%s}",
             data, rest);
    for (const char *c = pattern; *c; c++)
        to += *c == '@' ? sprintf(to, "%s", own_folder.text) : (*to = *c, 1);
    *to = 0;
    *told = (Told){.steps = 0};
    TestPath path = test_write_text(&own_folder, "train.json", text);
    TrainConfig config;
    const TrainEvents events = {
        .user = told, .note = on_note, .stepped = on_step, .validated = on_valid};
    if (!train_config_load(&config, path.text, NULL, 0, err)) return false;
    bool ok = train(&config, device, &events, NULL, err);
    train_config_free(&config);
    return ok;
}

static Told run(const char *data, const char *rest)
{
    Told told;
    Error err;
    if (!try_run(&told, data, rest, &err)) fail_msg("%s", err.text);
    return told;
}

// Seven records in three files, each of other rows than all others, so that rows tell them apart.
#define CHAT_LINE                                                                                  \
    "{\"messages\":[{\"role\":\"user\",\"content\":\"the\"},{\"role\":\"assistant\",\"content\":"  \
    "\"task\"},{\"role\":\"user\",\"content\":\"is\"},{\"role\":\"assistant\",\"content\":\"a\"}]" \
    "}"

static void prepare(void)
{
    static const char *const rising[][2] = {{"a", "b"}, {"a", "bc"}, {"a", "bcd"}, {"a", "bcde"}};
    small_model(&own_folder, "model", 31);
    write_records(&own_folder, "a.json", rising, 4);
    test_write_text(&own_folder, "b.jsonl",
                    CHAT_LINE "\n{\"instruction\":\"a\",\"output\":\"bcdef\"}\n");
    test_write_text(&own_folder, "c.txt", "Below\n<|endoftext|>\nis\n");
}

#define ALL_FILES "[\"@/a.json\",\"@/b.jsonl\",\"@/c.txt\"]"

// Times that each number of rows was drawn in steps first .. last - 1.
static void count_rows(uint32_t times[MOST_ROWS], const Told *told, size_t first, size_t last)
{
    memset(times, 0, MOST_ROWS * sizeof *times);
    for (size_t s = first; s < last; s++) times[told->tokens[s]]++;
}

static void a_list_is_one_pass(void **state)
{
    (void)state;
    prepare();
    Told told = run(ALL_FILES, "");
    assert_int_equal(told.steps, 14); // two epochs
    for (size_t first = 0; first < 14; first += 7) {
        uint32_t times[MOST_ROWS], kinds = 0;
        count_rows(times, &told, first, first + 7);
        for (int r = 0; r < MOST_ROWS; r++) {
            assert_true(times[r] <= 1);
            kinds += times[r];
        }
        assert_int_equal(kinds, 7);
    }
    assert_non_null(strstr(told.notes, "a.json: 4 records"));
    assert_non_null(strstr(told.notes, "b.jsonl: 2 records"));
    assert_non_null(strstr(told.notes, "c.txt: 1 records"));
}

// Three of four from c.txt, whose one record has the fewest rows.
static void weights_decide(void **state)
{
    (void)state;
    prepare();
    Told told = run("[\"@/a.json\",{\"path\":\"@/c.txt\",\"weight\":12}]", ",\"steps\":80");
    uint64_t least = UINT64_MAX;
    for (size_t s = 0; s < 80; s++)
        if (told.tokens[s] < least) least = told.tokens[s];
    uint32_t times[MOST_ROWS];
    count_rows(times, &told, 0, 80);
    assert_int_equal(times[least], 60);
    for (int r = 0; r < MOST_ROWS; r++) assert_true(times[r] == 60 || times[r] == 5 || !times[r]);
}

static void seeds_decide(void **state)
{
    (void)state;
    prepare();
    Told a = run(ALL_FILES, ",\"steps\":30,\"seed\":1");
    Told b = run(ALL_FILES, ",\"steps\":30,\"seed\":1");
    Told c = run(ALL_FILES, ",\"steps\":30,\"seed\":2");
    assert_memory_equal(a.tokens, b.tokens, sizeof a.tokens);
    assert_memory_not_equal(a.tokens, c.tokens, sizeof a.tokens);
}

static void validates_on_any_format(void **state)
{
    (void)state;
    prepare();
    static const char *const files[] = {"a.json", "b.jsonl", "c.txt"};
    for (int i = 0; i < 3; i++) {
        char rest[100];
        snprintf(rest, sizeof rest, ",\"steps\":2,\"validate_every\":1,\"valid\":\"@/%s\"",
                 files[i]);
        assert_int_equal(run("\"@/a.json\"", rest).validations, 2);
    }
}

static void separators_come_from_the_config(void **state)
{
    (void)state;
    prepare();
    test_write_text(&own_folder, "d.txt", "Below\n---\nis\n");
    uint64_t two = run("\"@/c.txt\"", "").tokens[0];
    assert_int_equal(run("\"@/d.txt\"", ",\"document_separator\":\"---\"").tokens[0], two);
    assert_true(run("\"@/d.txt\"", "").tokens[0] > two);
}

// A second run finds the tokens; where nothing can be kept, it says so and trains all the same.
static void runs_share_the_cache(void **state)
{
    (void)state;
    prepare();
    TestPath cache = test_path(own_folder.text, "cache");
    const char *before = getenv("XDG_CACHE_HOME");
    char *kept = before ? strdup(before) : NULL;
    unsetenv("STRATA_CACHE_TOKENS");
    setenv("XDG_CACHE_HOME", cache.text, 1);
    Told first = run("\"@/c.txt\"", "");
    assert_non_null(strstr(first.notes, "tokens kept in the cache"));
    Told second = run("\"@/c.txt\"", "");
    assert_non_null(strstr(second.notes, "tokens found in the cache"));
    assert_memory_equal(first.tokens, second.tokens, sizeof first.tokens);
    setenv("XDG_CACHE_HOME", test_path(own_folder.text, "train.json").text, 1);
    Told third = run("\"@/c.txt\"", "");
    assert_non_null(strstr(third.notes, "tokens without a cache"));
    assert_non_null(strstr(third.notes, "its tokens cannot be kept for the next run: "));
    assert_memory_equal(first.tokens, third.tokens, sizeof first.tokens);
    setenv("STRATA_CACHE_TOKENS", "0", 1);
    assert_null(strstr(run("\"@/c.txt\"", "").notes, "cannot be kept"));
    unsetenv("XDG_CACHE_HOME");
    if (kept) setenv("XDG_CACHE_HOME", kept, 1);
    free(kept);
}

static void names_the_file_that_fails(void **state)
{
    (void)state;
    prepare();
    Told told;
    Error err = {""};
    assert_false(try_run(&told, "[\"@/a.json\",\"@/none.jsonl\"]", "", &err));
    assert_error(err, "none.jsonl: cannot open");
    test_write_text(&own_folder, "bad.jsonl", "{\"text\":\"a\"}\n{\"txt\":\"a\"}\n");
    assert_false(try_run(&told, "[\"@/a.json\",\"@/bad.jsonl\"]", "", &err));
    assert_error(err, "bad.jsonl:2: key 'instruction' is missing, and so are");
    assert_false(try_run(&told, "\"@/a.json\"", ",\"valid\":\"@/bad.jsonl\"", &err));
    assert_error(err, "bad.jsonl:2: ");
}

int main(void)
{
    setenv("STRATA_CACHE_TOKENS", "0", 1);
    const struct CMUnitTest tests[] = {
        TEST(a_list_is_one_pass),
        TEST(weights_decide),
        TEST(seeds_decide),
        TEST(validates_on_any_format),
        TEST(separators_come_from_the_config),
        TEST(runs_share_the_cache),
        TEST(names_the_file_that_fails),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, device_open, device_close);
}
