// The costs of a training step and of a prompt with tokens behind it, as they ran with their own
// tables, against what train/step_cost.h and the model's shape say that they need: counts that
// share nothing. Single kernels are in test_profile_cost.c.
#include "infer/session.h"
#include "profile/cost.h"
#include "support/device.h"
#include "support/models.h"
#include "train/step.h"
#include "train/step_cost.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

static const uint32_t EXITS[] = {2, 4};
enum { EXIT_COUNT = 2, CAPACITY = 64, PROMPT = 3 };
static const uint32_t LENGTHS[] = {17, 9}; // tokens of the sequences: a row less each

static int open_profiled(void **state)
{
    const ProfileOptions options = {.cost = cost_of};
    Error err;
    if (device_open(state)) return -1;
    if (gpu_profile(device, &options, &err)) return 0;
    print_error("%s\n", err.text);
    return -1;
}

static void fill(Batch *batch, const LlamaConfig *config, StepRows *rows)
{
    uint32_t tokens[32];
    *rows = (StepRows){0};
    batch_begin(batch);
    for (size_t s = 0; s < sizeof LENGTHS / sizeof *LENGTHS; s++) {
        for (uint32_t i = 0; i < LENGTHS[s]; i++) tokens[i] = (7 * i + 5 * (uint32_t)s) % 50;
        assert_true(batch_add(batch, tokens, LENGTHS[s], PROMPT));
        step_rows_add(rows, config, LENGTHS[s] - 1, LENGTHS[s] - PROMPT);
    }
    batch_end(batch);
    assert_true(batch->used == rows->rows && batch->supervised == rows->supervised);
}

// What ran in the kernels of these files, together.
static Cost spent(const char *const *files, size_t count)
{
    Profile profile = gpu_profile_view(device);
    Cost sum = {0};
    assert_true(gpu_profile_whole(device));
    for (size_t i = 0; i < profile.event_count; i++) {
        const ProfileEvent *event = &profile.events[i];
        if (event->command->kind != COMMAND_DISPATCH) continue;
        const char *file = kernel_sources[event->command->dispatch.kernel].file;
        for (size_t f = 0; f < count; f++) {
            if (strcmp(file, files[f])) continue;
            sum.bytes += event->cost.bytes;
            sum.operations += event->cost.operations;
        }
    }
    return sum;
}
#define SPENT(...)                                                                                 \
    spent((const char *const[]){__VA_ARGS__},                                                      \
          sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static Step *run_step(Llama *model, StepRows *rows)
{
    const double weights[EXIT_COUNT] = {.01, .02};
    Error err;
    Step *step = step_open(model, EXITS, EXIT_COUNT, CAPACITY, true, &err);
    if (!step) fail_msg("%s", err.text);
    fill(step_batch(step), &model->config, rows);
    gpu_profile_clear(device);
    if (!step_zero_gradients(step, &err) || !step_run(step, weights, &err))
        fail_msg("%s", err.text);
    return step;
}

static void test_step(void **state)
{
    (void)state;
    TestPath path = small_model(&own_folder, "model", 3);
    Llama model = load_model(path.text);
    const LlamaConfig *c = &model.config;
    StepRows rows;
    Step *step = run_step(&model, &rows);
    StepRows apart = rows; // no row sees another
    apart.pairs = 0;
    assert_true(SPENT("matmul", "matmul_dx", "matmul_dw").operations ==
                step_operations(c, EXITS, EXIT_COUNT, &apart));
    double size = c->head_size, heads = (double)c->heads * c->blocks;
    assert_true(SPENT("attention", "attention_shuffle").operations ==
                heads * (rows.pairs * (4 * size + 4) + rows.rows * (size + 2)));
    assert_true(SPENT("attention_back_q", "attention_back_q_shuffle", "attention_back_kv",
                      "attention_back_kv_shuffle")
                    .operations == heads * (rows.pairs * (14 * size + 12) + rows.rows * 2 * size));
    step_close(step);
    llama_free(&model);
}

// A prompt of 40 tokens and 3 more, one by one: 43 positions in 2 pages, logits of 4.
static void test_generation(void **state)
{
    (void)state;
    TestPath path = small_model(&own_folder, "model", 3);
    Llama model = load_model(path.text);
    const LlamaConfig *c = &model.config;
    const uint32_t tokens[43] = {1, 5, 9, 2}, pieces[] = {40, 1, 1, 1};
    float *logits = malloc(c->vocab_size * sizeof *logits);
    Error err;
    Session *session = session_open(&model, 0, &err);
    if (!session || !logits) fail_msg("%s", session ? "out of memory" : err.text);
    gpu_profile_clear(device);
    for (size_t i = 0, at = 0; i < sizeof pieces / sizeof *pieces; at += pieces[i++])
        if (!session_feed(session, tokens + at, pieces[i], c->blocks, 1, logits, &err))
            fail_msg("%s", err.text);

    double size = c->head_size, q = c->heads * size, k = c->kv_heads * size, d = c->width;
    double block = q * d + 2 * k * d + d * q + 3.0 * c->hidden * d;
    assert_true(SPENT("matmul").operations ==
                2 * (43 * c->blocks * block + 4.0 * c->vocab_size * d));
    // Pairs 1 + ... + 43; keys 40 for the prompt, 41, 42 and 43 behind it; 2 pages each time.
    Cost attention = SPENT("attention_paged", "attention_paged_shuffle");
    assert_true(attention.operations ==
                c->blocks * (double)c->heads * (43 * 22 * (4 * size + 4) + 43 * size));
    assert_true(attention.bytes ==
                c->blocks * (43 * 12 + 4 * 2 * 4 + 43 * q * 8 + (40 + 41 + 42 + 43) * k * 8));
    session_close(session);
    free(logits);
    llama_free(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_step),
        TEST(test_generation),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests(tests, open_profiled, device_close);
}
