// Whole training runs: that they learn, that a seed decides every bit, what SFT is, how records are
// drawn, when a run saves, validates and stops, and what it refuses. Through train(), not the
// program (test_cli_train.c).
#include "base/file.h"
#include "infer/generate.h"
#include "support/device.h"
#include "support/models.h"
#include "train/step.h"
#include "train/trainer.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const RECORDS[][2] = {
    {"Write a word.", "Below"},
    {"Complete the task.", "a request"},
    {"Instruction", "Response: is that a word"},
    {"the", "describes"},
};
enum { RECORD_COUNT = sizeof RECORDS / sizeof *RECORDS, MOST_STEPS = 200 };

// ---- a run and what it told --------------------------------------------------------------------

typedef struct {
    StepReport reports[MOST_STEPS]; // (stepped)
    uint64_t stepped;
    uint64_t saved[MOST_STEPS]; // (save_count) steps
    size_t save_count;
    uint64_t validated[MOST_STEPS]; // (valid_count) steps
    size_t valid_count;
    DepthScore scores[CONFIG_MAX_EXITS]; // of the last validation
    bool resume;
    uint64_t first;   // steps that were done before this run
    uint64_t stop_at; // the step after which the run is told to stop; 0: never
    volatile sig_atomic_t stop;
} Told;

static void on_step(void *user, const StepReport *report)
{
    Told *told = user;
    assert_true(told->stepped < MOST_STEPS);
    told->reports[told->stepped++] = *report;
    assert_int_equal(report->step, told->first + told->stepped);
    assert_int_equal(report->done_here, told->stepped);
    if (report->step == told->stop_at) told->stop = 1;
}

static bool on_begin(void *user, uint64_t step, Error *err)
{
    (void)err;
    Told *told = user;
    told->first = step;
    return true;
}

static void on_valid(void *user, uint64_t step, const DepthScore *scores, uint32_t count)
{
    Told *told = user;
    told->validated[told->valid_count++] = step;
    memcpy(told->scores, scores, count * sizeof *scores);
}

static void on_saved(void *user, uint64_t step)
{
    Told *told = user;
    told->saved[told->save_count++] = step;
}

// Trains OWN_FOLDER/model on OWN_FOLDER/data.json into OWN_FOLDER/out; rest is more of the config,
// beginning with a comma.
static bool run_config(Told *told, const char *out, const char *rest, Error *err)
{
    char text[8192];
    const char *folder = own_folder.text;
    snprintf(text, sizeof text,
             "{\"model\":\"%s/model\",\"data\":\"%s/data.json\",\"out\":\"%s/%s\"%s}", folder,
             folder, folder, out, rest);
    TestPath path = test_write_text(&own_folder, "train.json", text);
    TrainConfig config;
    if (!train_config_load(&config, path.text, NULL, 0, err)) return false;
    const TrainEvents events = {.user = told,
                                .begin = on_begin,
                                .stepped = on_step,
                                .validated = on_valid,
                                .saved = on_saved};
    config.resume = told->resume;
    bool ok = train(&config, device, &events, &told->stop, err);
    train_config_free(&config);
    return ok;
}

static Told *run(const char *out, const char *rest, uint64_t stop_at)
{
    Told *told = calloc(1, sizeof *told);
    assert_non_null(told);
    told->stop_at = stop_at;
    Error err;
    if (!run_config(told, out, rest, &err)) fail_msg("%s", err.text);
    return told;
}

// Fails with `part`; the run told of no step, and no memory stays on the device.
static void check_refused(const char *out, const char *rest, const char *part)
{
    Told *told = calloc(1, sizeof *told);
    Error err = {""};
    uint64_t used = gpu_memory_used(device);
    assert_false(run_config(told, out, rest, &err));
    assert_error(err, part);
    assert_int_equal(told->stepped + told->save_count + told->valid_count, 0);
    assert_int_equal(gpu_memory_used(device), used);
    free(told);
}

static void prepare(void)
{
    small_model(&own_folder, "model", 31);
    write_records(&own_folder, "data.json", RECORDS, RECORD_COUNT);
}

static TestPath out_file(const char *out, const char *name)
{
    return test_path(test_path(own_folder.text, out).text, name);
}

static bool same_weights(const char *a, const char *b)
{
    size_t size_a, size_b;
    char *x = test_read(out_file(a, "model.safetensors").text, &size_a);
    char *y = test_read(out_file(b, "model.safetensors").text, &size_b);
    bool same = size_a == size_b && !memcmp(x, y, size_a);
    free(x);
    free(y);
    return same;
}

// The largest difference of any two weights.
static double weight_distance(const char *a, const char *b)
{
    Llama x = load_model(test_path(own_folder.text, a).text);
    Llama y = load_model(test_path(own_folder.text, b).text);
    double most = 0;
    for (size_t i = 0; i < llama_parameter_count(&x.config); i++) {
        Tensor tensor = *llama_parameter(&x, i).tensor;
        float *p = download(tensor), *q = download(*llama_parameter(&y, i).tensor);
        for (uint64_t j = 0; j < tensor_bytes(tensor) / sizeof *p; j++)
            most = fmax(most, fabs((double)p[j] - q[j]));
        free(p);
        free(q);
    }
    llama_free(&x);
    llama_free(&y);
    return most;
}

#define QUICK ",\"batch_size\":2,\"grad_accum\":1,\"learning_rate\":0.003,\"steps\":5"

// ---- learning ----------------------------------------------------------------------------------

// Greedy decoding of a record at a depth gives its output and EOS.
static bool reproduces(Session *session, const Dataset *set, const Example *e, uint32_t depth)
{
    const uint32_t *tokens = set->tokens + e->first;
    const uint32_t eos = 2;
    Generation out;
    Error err;
    assert_true(generate_greedy(&out, session, tokens, e->prompt, depth, 50, &eos, 1, &err));
    bool same = out.end == END_EOS && out.count + 1 == example_supervised(e) &&
                !memcmp(out.tokens, tokens + e->prompt, out.count * sizeof *tokens);
    generation_free(&out);
    return same;
}

// exact_match of each record by itself is what greedy decoding does, at every depth; a record that
// the context cuts is never exact. Returns how many are, over all records and depths.
static uint32_t check_exact(const char *folder, const char *data, uint32_t context)
{
    Error err;
    Llama model = load_model(test_path(own_folder.text, folder).text);
    Tokenizer *words = words_tokenizer();
    Dataset set;
    if (!dataset_load(&set, test_path(own_folder.text, data).text, words, context, &err))
        fail_msg("%s", err.text);
    Session *session = session_open(&model, 0, &err);
    const uint32_t depths[] = {1, 2, 3, 4};
    uint32_t exact = 0;
    for (size_t i = 0; i < set.count; i++) {
        Dataset one = set;
        DepthScore scores[4];
        one.examples = set.examples + i;
        one.count = 1;
        assert_true(evaluate(&model, &one, depths, 4, scores, NULL, NULL, &err));
        for (int d = 0; d < 4; d++) {
            bool same =
                !one.examples->truncated && reproduces(session, &set, one.examples, depths[d]);
            assert_true(scores[d].exact_match == (same ? 1.0 : 0.0));
            exact += same;
        }
    }
    session_close(session);
    dataset_free(&set);
    tokenizer_free(words);
    llama_free(&model);
    return exact;
}

static uint32_t longest_example(const char *data)
{
    Error err;
    Tokenizer *words = words_tokenizer();
    Dataset set;
    if (!dataset_load(&set, test_path(own_folder.text, data).text, words, 160, &err))
        fail_msg("%s", err.text);
    uint32_t longest = set.longest;
    dataset_free(&set);
    tokenizer_free(words);
    return longest;
}

// Records that were left out count as not exact.
static void check_exact_with_dropped(void)
{
    Error err;
    Llama model = load_model(test_path(own_folder.text, "out").text);
    Tokenizer *words = words_tokenizer();
    Dataset set;
    DepthScore score;
    assert_true(dataset_load(&set, test_path(own_folder.text, "data.json").text, words, 160, &err));
    set.dropped = RECORD_COUNT;
    assert_true(evaluate(&model, &set, (const uint32_t[]){4}, 1, &score, NULL, NULL, &err));
    assert_true(score.exact_match == 0.5);
    dataset_free(&set);
    tokenizer_free(words);
    llama_free(&model);
}

// Four records by heart at three depths: proves forward, every gradient, the optimizer and the
// loop.
static void learns_by_heart(void **state)
{
    (void)state;
    prepare();
    char rest[2048];
    snprintf(rest, sizeof rest,
             ",\"valid\":\"%s/data.json\",\"exits\":[1,2,4],\"steps\":40,\"batch_size\":4,"
             "\"grad_accum\":1,\"learning_rate\":0.01",
             own_folder.text);
    Told *told = run("out", rest, 0);
    assert_int_equal(told->stepped, 40);
    const StepReport *first = &told->reports[0], *last = &told->reports[39];
    assert_int_equal(first->exit_count, 3);
    for (uint32_t e = 0; e < 3; e++) {
        assert_true(first->losses[e] > 3);
        if (!(last->losses[e] < 0.1)) fail_msg("exit %u: loss %g", e, last->losses[e]);
        assert_true(told->scores[e].exact_match == 1 && told->scores[e].token_accuracy == 1);
        assert_true(told->scores[e].loss < 0.1);
    }
    assert_true(fabs(last->loss - (last->losses[0] + last->losses[1] + last->losses[2]) / 3) <
                1e-9);
    // Records that it has not seen are not known, so that both answers occur.
    const char *const mixed[][2] = {{RECORDS[0][0], RECORDS[0][1]},
                                    {"the", "Below"},
                                    {RECORDS[3][0], RECORDS[3][1]},
                                    {"Write", "completes the"}};
    write_records(&own_folder, "mixed.json", mixed, 4);
    assert_in_range(check_exact("out", "mixed.json", 160), 6, 8); // two records, depth 3 by chance
    check_exact_with_dropped();
    // Cut by one token, the longest record loses its EOS, and no depth has it any more.
    uint32_t longest = longest_example("data.json");
    assert_true(check_exact("out", "data.json", longest - 1) <
                check_exact("out", "data.json", longest));
    free(told);
}

// Half-way, some depths know more than others; evaluation and decoding agree all the same.
static void exact_match_is_greedy_decoding(void **state)
{
    (void)state;
    prepare();
    Told *told = run("out",
                     ",\"exits\":[1,2,4],\"steps\":40,\"batch_size\":4,\"grad_accum\":1,"
                     "\"learning_rate\":0.01",
                     6);
    assert_int_equal(told->stepped, 6);
    uint32_t exact = check_exact("out", "data.json", 160);
    assert_in_range(exact, 1, 15); // both answers occur
    free(told);
}

// ---- seeds -------------------------------------------------------------------------------------

static void one_seed_one_result(void **state)
{
    (void)state;
    prepare();
    Told *a = run("a", QUICK ",\"exits\":[2,4],\"seed\":1", 0);
    Told *b = run("b", QUICK ",\"exits\":[2,4],\"seed\":1", 0);
    Told *c = run("c", QUICK ",\"exits\":[2,4],\"seed\":2", 0);
    assert_true(same_weights("a", "b"));
    assert_false(same_weights("a", "c"));
    assert_false(same_weights("a", "model"));
    for (int i = 0; i < 5; i++) {
        assert_true(a->reports[i].loss == b->reports[i].loss);
        assert_true(a->reports[i].norm == b->reports[i].norm);
    }
    free(a);
    free(b);
    free(c);
}

#define TINY                                                                                       \
    "{\"model_type\":\"llama\",\"hidden_size\":16,\"intermediate_size\":24,"                       \
    "\"num_hidden_layers\":2,\"num_attention_heads\":2,\"vocab_size\":600,"                        \
    "\"max_position_embeddings\":128}"

static bool run_init(const char *out, int seed, Error *err)
{
    char text[4096];
    const char *folder = own_folder.text;
    snprintf(text, sizeof text,
             "{\"init\":" TINY ",\"tokenizer\":\"%s/model\",\"data\":\"%s/data.json\",\"out\":\"%s/"
             "%s\",\"exits\":[1,2],\"seed\":%d" QUICK "}",
             folder, folder, folder, out, seed);
    TestPath path = test_write_text(&own_folder, "init.json", text);
    TrainConfig config;
    assert_true(train_config_load(&config, path.text, NULL, 0, err));
    const TrainEvents silent = {0};
    bool ok = train(&config, device, &silent, NULL, err);
    train_config_free(&config);
    return ok;
}

// From random weights, which the seed decides as well.
static void trains_from_scratch(void **state)
{
    (void)state;
    prepare();
    Error err;
    if (!run_init("a", 1, &err) || !run_init("b", 1, &err) || !run_init("c", 2, &err))
        fail_msg("%s", err.text);
    assert_true(same_weights("a", "b"));
    assert_false(same_weights("a", "c"));
    Llama model = load_model(test_path(own_folder.text, "a").text);
    assert_int_equal(model.config.width, 16);
    assert_int_equal(model.config.exit_count, 2);
    llama_free(&model);
}

// ---- method and batches ------------------------------------------------------------------------

// SFT is SoFT with the one exit at the top.
static void sft_is_soft_at_the_top(void **state)
{
    (void)state;
    prepare();
    free(run("sft", QUICK ",\"method\":\"sft\"", 0));
    free(run("soft", QUICK ",\"exits\":[4]", 0));
    assert_true(same_weights("sft", "soft"));
    LlamaConfig config;
    Error err;
    assert_true(config_load(&config, test_path(own_folder.text, "sft").text, &err));
    assert_int_equal(config.exit_count, 0);
    assert_true(config_load(&config, test_path(own_folder.text, "soft").text, &err));
    assert_int_equal(config.exit_count, 1);
    assert_int_equal(config.exits[0], 4);
}

// The gradient norm of all records under these weights, from the step itself.
static double norm_by_hand(const uint32_t *exits, uint32_t count)
{
    Error err;
    Llama model = load_model(test_path(own_folder.text, "model").text);
    Tokenizer *words = words_tokenizer();
    Dataset set;
    assert_true(dataset_load(&set, test_path(own_folder.text, "data.json").text, words, 160, &err));
    Step *step = step_open(&model, exits, count, 4 * set.longest, true, &err);
    assert_non_null(step);
    batch_begin(step_batch(step));
    for (size_t i = 0; i < set.count; i++)
        assert_true(batch_add(step_batch(step), set.tokens + set.examples[i].first,
                              set.examples[i].length, set.examples[i].prompt));
    batch_end(step_batch(step));
    double weights[CONFIG_MAX_EXITS], norm;
    for (uint32_t e = 0; e < count; e++)
        weights[e] = 1.0 / (count * (double)step_batch(step)->supervised);
    const UpdateValues values = {.epsilon = 1, .time = 1};
    assert_true(step_zero_gradients(step, &err) && step_run(step, weights, &err) &&
                step_update(step, &values, &norm, &err));
    step_close(step);
    dataset_free(&set);
    tokenizer_free(words);
    llama_free(&model);
    return norm;
}

// What is minimised is the mean over exits of the mean over the step's supervised tokens.
static void minimises_the_mean(void **state)
{
    (void)state;
    prepare();
    Told *told = run("out", ",\"exits\":[1,3,4],\"steps\":1,\"batch_size\":2,\"grad_accum\":2", 0);
    double expected = norm_by_hand((const uint32_t[]){1, 3, 4}, 3);
    assert_true(fabs(told->reports[0].norm - expected) <= 1e-4 * expected);
    free(told);
}

// Four records a step, in one batch or in micro-batches: the same up to rounding.
static void accumulation_is_a_larger_batch(void **state)
{
    (void)state;
    prepare();
    const char *rests[] = {",\"batch_size\":4,\"grad_accum\":1",
                           ",\"batch_size\":2,\"grad_accum\":2",
                           ",\"batch_size\":1,\"grad_accum\":4"};
    Told *told[3];
    for (int i = 0; i < 3; i++) {
        const char out[] = {(char)('a' + i), 0};
        char rest[256];
        snprintf(rest, sizeof rest,
                 "%s,\"exits\":[1,4],\"steps\":4,\"learning_rate\":0.001,"
                 "\"epsilon\":0.0001",
                 rests[i]);
        told[i] = run(out, rest, 0);
        for (int s = 0; s < 4; s++) {
            const StepReport *one = &told[0]->reports[s], *now = &told[i]->reports[s];
            assert_int_equal(one->tokens, now->tokens);
            assert_int_equal(one->supervised, now->supervised);
            assert_true(fabs(one->loss - now->loss) <= 1e-4);
            assert_true(fabs(one->norm - now->norm) <= 1e-3 * one->norm);
        }
    }
    assert_true(weight_distance("a", "b") <= 2e-5);
    assert_true(weight_distance("a", "c") <= 2e-5);
    assert_true(weight_distance("a", "model") > 1e-3);
    for (int i = 0; i < 3; i++) free(told[i]);
}

// Each epoch takes every record once, in an order of its own. The lengths tell records apart.
static void epochs_take_every_record(void **state)
{
    (void)state;
    const char *const rising[][2] = {{"a", "b"}, {"a", "bc"}, {"a", "bcd"}, {"a", "bcde"}};
    small_model(&own_folder, "model", 31);
    write_records(&own_folder, "data.json", rising, RECORD_COUNT);
    Told *told = run("out",
                     ",\"exits\":[4],\"batch_size\":1,\"grad_accum\":1,\"steps\":40,"
                     "\"learning_rate\":0",
                     0);
    uint64_t lengths[RECORD_COUNT];
    bool orders_differ = false;
    for (size_t r = 0; r < RECORD_COUNT; r++) {
        lengths[r] = told->reports[r].tokens;
        for (size_t q = 0; q < r; q++) assert_true(lengths[q] != lengths[r]);
    }
    for (size_t s = RECORD_COUNT; s < 40; s++) {
        orders_differ |= told->reports[s].tokens != lengths[s % RECORD_COUNT];
        if (s % RECORD_COUNT) continue;
        for (size_t r = 0; r < RECORD_COUNT; r++) {
            size_t found = 0;
            for (size_t q = 0; q < RECORD_COUNT; q++)
                found += told->reports[s + q].tokens == lengths[r];
            assert_int_equal(found, 1);
        }
    }
    assert_true(orders_differ);
    assert_true(same_weights("model", "out")); // the rate is 0, and nothing decays
    free(told);
}

// Steps that are not given make two epochs; the warm-up is 3% of them.
static void default_length(void **state)
{
    (void)state;
    prepare();
    Told *told = run("out", ",\"exits\":[4],\"batch_size\":3,\"grad_accum\":1", 0);
    assert_int_equal(told->stepped, 3); // 8 records, 3 a step
    assert_true(told->reports[0].rate == 2e-5);
    free(told);
}

// ---- saving, validating, stopping --------------------------------------------------------------

static void saves_and_validates_on_time(void **state)
{
    (void)state;
    prepare();
    char rest[2048];
    snprintf(rest, sizeof rest,
             QUICK ",\"exits\":[2,4],\"save_every\":2,\"validate_every\":2,\"valid\":\"%s/"
                   "data.json\"",
             own_folder.text);
    Told *told = run("out", rest, 0);
    assert_int_equal(told->save_count, 3);
    assert_true(told->saved[0] == 2 && told->saved[1] == 4 && told->saved[2] == 5);
    assert_int_equal(told->valid_count, 3);
    assert_true(told->validated[0] == 2 && told->validated[1] == 4 && told->validated[2] == 5);
    assert_int_equal(told->scores[0].depth, 2);
    assert_int_equal(told->scores[1].depth, 4);
    free(told);
    // Config, weights, tokenizer, the two small ones and the checkpoints; nothing half-written.
    assert_int_equal(test_folder_count(test_path(own_folder.text, "out").text), 6);
    assert_int_equal(test_folder_count(out_file("out", "checkpoints").text), 2);
}

// A stopped run saves the step at hand: what a run of that many steps at these rates would have.
static void stops_after_the_step_at_hand(void **state)
{
    (void)state;
    prepare();
    Told *told = run("stopped", QUICK ",\"exits\":[2,4],\"schedule\":\"constant\"", 3);
    assert_int_equal(told->stepped, 3);
    assert_int_equal(told->save_count, 1);
    assert_int_equal(told->saved[0], 3);
    free(told);
    free(run("short",
             ",\"batch_size\":2,\"grad_accum\":1,\"learning_rate\":0.003,\"exits\":[2,4],"
             "\"schedule\":\"constant\",\"steps\":3",
             0));
    assert_true(same_weights("stopped", "short"));
}

// ---- what is refused ---------------------------------------------------------------------------

static void refuses_configs(void **state)
{
    (void)state;
    prepare();
    check_refused("out", QUICK ",\"exits\":[2,5]", "exits: depth 5, but the model has 4 blocks");
    check_refused("out", QUICK ",\"exits\":[4],\"context\":161",
                  "context: 161, but the model's context is 160");
    check_refused("out", QUICK ",\"exits\":[4],\"context\":8",
                  "data.json: no record has an output within the context of 8 tokens");
    check_refused("out", QUICK ",\"exits\":[4],\"valid\":\"/nonexistent/v.json\"",
                  "/nonexistent/v.json");
    check_refused("model", QUICK ",\"exits\":[4]", "the model itself; choose another folder");
    check_refused("data.json/out", QUICK ",\"exits\":[4]", "data.json");
    check_refused("out", QUICK ",\"exits\":[4],\"tokenizer\":\"/nonexistent\"",
                  "/nonexistent/tokenizer.json");
}

// The model's own folder under another name is not overwritten either.
static void refuses_the_model_under_another_name(void **state)
{
    (void)state;
    prepare();
    check_refused("model/", QUICK ",\"exits\":[4]", "the model itself");
    check_refused("./model/.", QUICK ",\"exits\":[4]", "the model itself");
}

static void refuses_large_tokenizers(void **state)
{
    (void)state;
    LlamaConfig config = small_config();
    uint32_t tokens = config.vocab_size--;
    char expected[128];
    snprintf(expected, sizeof expected,
             "tokenizer.json: has %u tokens, but the model's vocabulary has %u", tokens,
             config.vocab_size);
    model_write(test_path(own_folder.text, "model").text, &config, 1);
    write_records(&own_folder, "data.json", RECORDS, RECORD_COUNT);
    check_refused("out", QUICK ",\"exits\":[4]", expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(learns_by_heart),
        TEST(exact_match_is_greedy_decoding),
        TEST(one_seed_one_result),
        TEST(trains_from_scratch),
        TEST(sft_is_soft_at_the_top),
        TEST(minimises_the_mean),
        TEST(accumulation_is_a_larger_batch),
        TEST(epochs_take_every_record),
        TEST(default_length),
        TEST(saves_and_validates_on_time),
        TEST(stops_after_the_step_at_hand),
        TEST(refuses_configs),
        TEST(refuses_the_model_under_another_name),
        TEST(refuses_large_tokenizers),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, device_open, device_close);
}
