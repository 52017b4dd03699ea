// What `strata train` is told: defaults, every key's range, keys that belong together, --set, and
// the learning rate that follows.
#include "support/files.h"
#include "train/train_config.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static bool load(TrainConfig *config, const char *text, const char *set, Error *err)
{
    TestPath path = test_write_text(&own_folder, "train.json", text);
    *err = (Error){""};
    return train_config_load(config, path.text, &set, set != NULL, err);
}

static TrainConfig loaded(const char *text, const char *set)
{
    TrainConfig config;
    Error err;
    if (!load(&config, text, set, &err)) fail_msg("%s", err.text);
    return config;
}

static void check_refused(const char *text, const char *set, const char *part)
{
    TrainConfig config;
    Error err;
    if (load(&config, text, set, &err)) fail_msg("%s with --set %s was taken", text, set);
    assert_error(err, part);
    assert_null(config.model);
}

#define LEAST "\"model\":\"m\",\"data\":\"d\",\"out\":\"o\""
#define SOFT "{" LEAST ",\"exits\":[2,4]}"
#define SFT "{" LEAST ",\"method\":\"sft\"}"

static void defaults(void **state)
{
    (void)state;
    TrainConfig c = loaded(SOFT, NULL);
    assert_string_equal(c.model, "m");
    assert_int_equal(c.data.count, 1);
    assert_string_equal(c.data.files[0].path, "d");
    assert_true(c.data.files[0].weight == 0);
    assert_null(c.separator);
    assert_string_equal(c.out, "o");
    assert_null(c.tokenizer);
    assert_null(c.valid);
    assert_false(c.has_init);
    assert_int_equal(c.method, METHOD_SOFT);
    assert_int_equal(c.exit_count, 2);
    assert_int_equal(c.exits[0], 2);
    assert_int_equal(c.exits[1], 4);
    assert_int_equal(c.steps, 0);
    assert_int_equal(c.batch_size, 4);
    assert_int_equal(c.grad_accum, 8);
    assert_int_equal(c.context, 0);
    assert_true(c.learning_rate == 2e-5);
    assert_true(c.weight_decay == 0);
    assert_true(c.beta1 == 0.9);
    assert_true(c.beta2 == 0.999);
    assert_true(c.epsilon == 1e-8);
    assert_true(c.clip == 1);
    assert_int_equal(c.schedule, SCHEDULE_COSINE);
    assert_int_equal(c.warmup, -1);
    assert_int_equal(c.seed, 42);
    assert_int_equal(c.save_every, 0);
    assert_int_equal(c.validate_every, 0);
    train_config_free(&c);
    assert_null(c.model);
    train_config_free(&c);
}

static void every_key(void **state)
{
    (void)state;
    TrainConfig c = loaded(
        "{" LEAST ",\"tokenizer\":\"t\",\"valid\":\"v\",\"method\":\"soft\",\"exits\":[1,2,3],"
        "\"steps\":7,\"batch_size\":2,\"grad_accum\":3,\"context\":99,\"learning_rate\":0.5,"
        "\"schedule\":\"constant\",\"warmup\":6,\"weight_decay\":0.25,\"beta1\":0.5,\"beta2\":0.75,"
        "\"epsilon\":0.125,\"clip\":2,\"seed\":12,\"save_every\":4,\"validate_every\":5}",
        NULL);
    assert_string_equal(c.tokenizer, "t");
    assert_string_equal(c.valid, "v");
    assert_int_equal(c.exit_count, 3);
    assert_int_equal(c.steps, 7);
    assert_int_equal(c.batch_size, 2);
    assert_int_equal(c.grad_accum, 3);
    assert_int_equal(c.context, 99);
    assert_true(c.learning_rate == 0.5 && c.weight_decay == 0.25);
    assert_int_equal(c.schedule, SCHEDULE_CONSTANT);
    assert_int_equal(c.warmup, 6);
    assert_true(c.beta1 == 0.5 && c.beta2 == 0.75 && c.epsilon == 0.125 && c.clip == 2);
    assert_int_equal(c.seed, 12);
    assert_int_equal(c.save_every, 4);
    assert_int_equal(c.validate_every, 5);
    train_config_free(&c);
}

#define SHAPE                                                                                      \
    "{\"model_type\":\"llama\",\"hidden_size\":32,\"intermediate_size\":64,"                       \
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"vocab_size\":300,"                        \
    "\"max_position_embeddings\":64}"

static void init_in_place_of_a_model(void **state)
{
    (void)state;
    TrainConfig c = loaded("{\"init\":" SHAPE ",\"tokenizer\":\"t\",\"data\":\"d\",\"out\":\"o\","
                           "\"method\":\"sft\"}",
                           NULL);
    assert_true(c.has_init);
    assert_int_equal(c.init.blocks, 2);
    assert_int_equal(c.init.kv_heads, 4);
    assert_int_equal(c.init.vocab_size, 300);
    train_config_free(&c);
    check_refused("{\"init\":" SHAPE ",\"data\":\"d\",\"out\":\"o\",\"method\":\"sft\"}", NULL,
                  "train.json: with 'init', 'tokenizer' must name the folder");
    check_refused("{" LEAST ",\"init\":" SHAPE ",\"tokenizer\":\"t\",\"method\":\"sft\"}", NULL,
                  "one of 'model' and 'init' is expected");
    check_refused("{\"init\":{},\"tokenizer\":\"t\",\"data\":\"d\",\"out\":\"o\"}", NULL,
                  "train.json: key 'model_type'");
    check_refused("{\"init\":5,\"tokenizer\":\"t\",\"data\":\"d\",\"out\":\"o\"}", NULL,
                  "train.json");
}

static void several_files(void **state)
{
    (void)state;
    TrainConfig c = loaded(SOFT, "data=[{\"path\":\"a.json\",\"weight\":0.5},\"b.txt\","
                                 "{\"path\":\"c\",\"weight\":null}]");
    assert_int_equal(c.data.count, 3);
    assert_string_equal(c.data.files[0].path, "a.json");
    assert_string_equal(c.data.files[1].path, "b.txt");
    assert_string_equal(c.data.files[2].path, "c");
    assert_true(c.data.files[0].weight == 0.5);
    assert_true(c.data.files[1].weight == 0 && c.data.files[2].weight == 0);
    train_config_free(&c);
    c = loaded(SOFT, "document_separator=---");
    assert_string_equal(c.separator, "---");
    train_config_free(&c);
    static const char *const bad[][2] = {
        {"data=7", "train.json: key 'data' must be a path or a list"},
        {"data={\"path\":\"a\"}", "key 'data' must be a path or a list"},
        {"data=\"\"", "key 'data' is an empty path"},
        {"data=[]", "key 'data' lists 0 files, expected 1 to 64"},
        {"data=[\"a\",7]", "key 'data', entry 2 must be a path or an object"},
        {"data=[\"\"]", "key 'data', entry 1 is an empty path"},
        {"data=[{}]", "key 'data', entry 1: key 'path' is missing"},
        {"data=[{\"path\":7}]", "key 'data', entry 1: key 'path' must be a string"},
        {"data=[{\"path\":\"a\",\"weight\":0}]", "entry 1: key 'weight' is 0"},
        {"data=[{\"path\":\"a\",\"weight\":-1}]", "entry 1: key 'weight' is -1"},
        {"data=[{\"path\":\"a\",\"weight\":\"1\"}]", "key 'weight' must be a number"},
        {"data=[{\"path\":\"a\",\"wieght\":1}]", "entry 1: unknown key 'wieght'"},
        {"document_separator=7", "key 'document_separator'"},
        {"document_separator=\"\"", "key 'document_separator' is empty"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) check_refused(SOFT, bad[i][0], bad[i][1]);
}

// Every number beyond each of its ends, and at the ends.
static void ranges(void **state)
{
    (void)state;
    static const char *const bad[] = {"steps=-1",
                                      "steps=1000000001",
                                      "steps=1.5",
                                      "steps=\"x\"",
                                      "batch_size=0",
                                      "batch_size=65537",
                                      "grad_accum=0",
                                      "grad_accum=65537",
                                      "context=-1",
                                      "context=1",
                                      "context=1048577",
                                      "warmup=-1",
                                      "warmup=1000000001",
                                      "seed=-1",
                                      "save_every=-1",
                                      "validate_every=-1",
                                      "learning_rate=-1",
                                      "learning_rate=1001",
                                      "weight_decay=-0.1",
                                      "weight_decay=1001",
                                      "beta1=1",
                                      "beta1=-0.1",
                                      "beta2=1",
                                      "beta2=-1",
                                      "epsilon=0",
                                      "epsilon=2",
                                      "clip=-1",
                                      "clip=1e10",
                                      "clip=true",
                                      "learning_rate=1e400",
                                      "method=\"lora\"",
                                      "schedule=\"linear\"",
                                      "schedule=3",
                                      "exits=4",
                                      "exits=[0]",
                                      "exits=[1.5]",
                                      "exits=[\"2\"]",
                                      "exits=[65536]",
                                      "data=[]",
                                      "model=\"\"",
                                      "out=7",
                                      "valid={}",
                                      "tokenizer=false",
                                      "seed=9007199254740994"};
    static const char *const good[] = {
        "steps=1000000000", "batch_size=65536", "grad_accum=65536",  "context=2",
        "context=1048576",  "warmup=0",         "learning_rate=0",   "weight_decay=1000",
        "beta1=0",          "beta2=0",          "epsilon=1",         "clip=0",
        "seed=0",           "exits=[65535]",    "schedule=constant", "seed=9007199254740992"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char key[64];
        snprintf(key, sizeof key, "'%.*s'", (int)strcspn(bad[i], "="), bad[i]);
        check_refused(SOFT, bad[i], key);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        TrainConfig c = loaded(SOFT, good[i]);
        train_config_free(&c);
    }
}

static void what_belongs_together(void **state)
{
    (void)state;
    check_refused("{\"data\":\"d\",\"out\":\"o\",\"exits\":[1]}", NULL,
                  "one of 'model' and 'init' is expected");
    check_refused("{\"model\":\"m\",\"out\":\"o\",\"exits\":[1]}", NULL, "key 'data' is missing");
    check_refused("{\"model\":\"m\",\"data\":\"d\",\"exits\":[1]}", NULL, "key 'out' is missing");
    check_refused("{" LEAST "}", NULL, "method 'soft' needs 'exits', such as [2,4,6]");
    check_refused("{" LEAST ",\"exits\":[]}", NULL, "method 'soft' needs 'exits'");
    check_refused("{" LEAST ",\"method\":\"sft\",\"exits\":[4]}", NULL,
                  "'exits' belongs to the methods 'soft' and 'ict'");
    check_refused("{" LEAST ",\"exits\":[2,4,3]}", NULL, "exits must ascend: 4 stands before 3");
    check_refused("{" LEAST ",\"exits\":[2,2]}", NULL, "exits must ascend: 2 stands before 2");
}

static void unknown_keys_and_bad_files(void **state)
{
    (void)state;
    check_refused("{" LEAST ",\"exits\":[1],\"learning_rat\":1}", NULL,
                  "train.json: unknown key 'learning_rat'");
    check_refused("[]", NULL, "train.json: a JSON object is expected");
    check_refused("{" LEAST, NULL, "train.json");
    check_refused("", NULL, "train.json");
    check_refused("{" LEAST ",\"out\":\"p\"}", NULL, "out");
    TrainConfig config;
    Error err;
    TestPath none = test_path(own_folder.text, "none.json");
    assert_false(train_config_load(&config, none.text, NULL, 0, &err));
    assert_error(err, "none.json");
}

static void sets(void **state)
{
    (void)state;
    TrainConfig c = loaded(SOFT, "steps=12");
    assert_int_equal(c.steps, 12);
    train_config_free(&c);
    c = loaded(SOFT, "exits=[1,3,4]");
    assert_int_equal(c.exit_count, 3);
    assert_int_equal(c.exits[1], 3);
    train_config_free(&c);
    c = loaded(SOFT, "out=some folder/x=y");
    assert_string_equal(c.out, "some folder/x=y");
    train_config_free(&c);
    c = loaded(SOFT, "out=\"quoted\"");
    assert_string_equal(c.out, "quoted");
    train_config_free(&c);
    c = loaded(SOFT, "learning_rate=1e-3");
    assert_true(c.learning_rate == 1e-3);
    train_config_free(&c);
    c = loaded(SOFT, "clip=null"); // the default again
    assert_true(c.clip == 1);
    train_config_free(&c);
    c = loaded(SFT, "valid=v.json");
    assert_string_equal(c.valid, "v.json");
    train_config_free(&c);
    check_refused(SOFT, "steps", "--set steps: key=value is expected");
    check_refused(SOFT, "=3", "--set =3: key=value is expected");
    check_refused(SOFT, "stepz=3", "--set stepz: unknown key");
    check_refused(SOFT, "exits=2,4", "'exits' must be a list");
}

static void later_sets_win(void **state)
{
    (void)state;
    const char *const both[] = {"steps=3", "method=sft", "exits=null", "steps=4"};
    TestPath path = test_write_text(&own_folder, "train.json", SOFT);
    TrainConfig c;
    Error err;
    if (!train_config_load(&c, path.text, both, 4, &err)) fail_msg("%s", err.text);
    assert_int_equal(c.steps, 4);
    assert_int_equal(c.method, METHOD_SFT);
    assert_int_equal(c.exit_count, 0);
    train_config_free(&c);
}

static void completes_from_the_model(void **state)
{
    (void)state;
    LlamaConfig model = {.blocks = 4, .context = 512};
    Error err = {""};
    TrainConfig c = loaded(SFT, NULL);
    assert_true(train_config_complete(&c, &model, &err));
    assert_int_equal(c.exit_count, 1);
    assert_int_equal(c.exits[0], 4);
    assert_int_equal(c.context, 512);
    train_config_free(&c);
    model.context = 4096;
    c = loaded(SOFT, NULL);
    assert_true(train_config_complete(&c, &model, &err));
    assert_int_equal(c.context, 2048);
    model.blocks = 3;
    assert_false(train_config_complete(&c, &model, &err));
    assert_error(err, "exits: depth 4, but the model has 3 blocks");
    train_config_free(&c);
    model = (LlamaConfig){.blocks = 4, .context = 64};
    c = loaded(SOFT, "context=64");
    assert_true(train_config_complete(&c, &model, &err));
    train_config_free(&c);
    c = loaded(SOFT, "context=65");
    assert_false(train_config_complete(&c, &model, &err));
    assert_error(err, "context: 65, but the model's context is 64");
    train_config_free(&c);
}

static void check_rate(const TrainConfig *c, uint64_t step, double expected)
{
    double rate = train_config_rate(c, step);
    if (fabs(rate - expected) > 1e-12)
        fail_msg("step %u: rate %.15g, expected %.15g", (unsigned)step, rate, expected);
}

static void learning_rates(void **state)
{
    (void)state;
    TrainConfig c = {.learning_rate = 0.8, .steps = 14, .warmup = 4};
    check_rate(&c, 1, 0.2);
    check_rate(&c, 2, 0.4);
    check_rate(&c, 4, 0.8);
    check_rate(&c, 5, 0.8);                              // the cosine begins at its top
    check_rate(&c, 10, 0.4);                             // half way
    check_rate(&c, 14, 0.4 * (1 + cos(0.9 * acos(-1)))); // one step more would be 0
    check_rate(&c, 15, 0);
    c.schedule = SCHEDULE_CONSTANT;
    check_rate(&c, 1, 0.2);
    check_rate(&c, 5, 0.8);
    check_rate(&c, 14, 0.8);
    c = (TrainConfig){.learning_rate = 0.8, .steps = 2, .warmup = 4}; // longer than the run
    check_rate(&c, 2, 0.4);
    c = (TrainConfig){.learning_rate = 0.8, .steps = 1};
    check_rate(&c, 1, 0.8);
    c.schedule = SCHEDULE_CONSTANT;
    check_rate(&c, 1, 0.8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults),
        TEST(every_key),
        TEST(init_in_place_of_a_model),
        TEST(several_files),
        TEST(ranges),
        TEST(what_belongs_together),
        TEST(unknown_keys_and_bad_files),
        TEST(sets),
        TEST(later_sets_win),
        TEST(completes_from_the_model),
        TEST(learning_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
