// Models whose weights are held in other types than f32: what each parameter is held in, that
// logits are to the bit those of the same values in f32, what does not fit, and what needs f32.
// Blocks of values by themselves are in test_quant.c, kernels in test_op_blocks.c.
#include "base/quant.h"
#include "infer/session.h"
#include "support/export.h"
#include "train/step.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 70, WANTED = 3 }; // more than run together

// Every matrix has whole groups of 32 values, but for mlp.down_proj where hidden is 84.
static LlamaConfig config_of(bool tied, uint32_t hidden)
{
    LlamaConfig config = small_config();
    config.width = 64;
    config.head_size = 16;
    config.hidden = hidden;
    config.tied = tied;
    return config;
}

static TestPath write_model(const char *name, bool tied, uint32_t hidden)
{
    LlamaConfig config = config_of(tied, hidden);
    TestPath folder = test_path(own_folder.text, name);
    model_write(folder.text, &config, 5);
    return folder;
}

static Llama load_as(const char *folder, Dtype dtype)
{
    Llama model;
    Error err;
    if (!llama_load_as(&model, device, folder, dtype, &err)) fail_msg("%s", err.text);
    return model;
}

// Logits after a prompt in chunks and after a token alone: (2 * WANTED, V), malloc'ed.
static float *logits_of(Llama *model)
{
    uint32_t tokens[TOKENS], vocab = model->config.vocab_size;
    float *logits = calloc(2 * (size_t)WANTED * vocab, sizeof *logits);
    Error err;
    Session *session = session_open(model, TOKENS + WANTED, &err);
    if (!session || !logits) fail_msg("%s", err.text);
    for (uint32_t i = 0; i < TOKENS; i++) tokens[i] = (i * 37 + 11) % vocab;
    assert_true(session_feed(session, tokens, TOKENS, 3, WANTED, logits, &err));
    for (uint32_t i = 0; i < WANTED; i++)
        assert_true(
            session_feed(session, &tokens[i], 1, 3, 1, logits + (WANTED + i) * vocab, &err));
    session_close(session);
    return logits;
}

static void check_same_logits(Llama *a, Llama *b)
{
    float *left = logits_of(a), *right = logits_of(b);
    assert_memory_equal(left, right, 2 * WANTED * a->config.vocab_size * sizeof *left);
    free(left);
    free(right);
}

// ---- quantised ---------------------------------------------------------------------------------

// Makes every parameter of an f32 model what the quantised one holds.
static void round_model(Llama *model, Dtype dtype)
{
    Error err;
    for (size_t i = 0; i < llama_parameter_count(&model->config); i++) {
        LlamaParameter p = llama_parameter(model, i);
        if (llama_dtype(&p, dtype) == DTYPE_F32) continue;
        uint64_t count = (uint64_t)p.rows * p.cols;
        float *values = download(*p.tensor);
        uint8_t *blocks = malloc(dtype_bytes(dtype, count));
        assert_non_null(blocks);
        assert_true(quant_encode(dtype, values, count, blocks));
        quant_decode(dtype, blocks, count, values);
        assert_true(llama_upload(device, &p, values, &err));
        free(blocks);
        free(values);
    }
}

static uint32_t count_dtype(Llama *model, Dtype dtype)
{
    uint32_t count = 0;
    for (size_t i = 0; i < llama_parameter_count(&model->config); i++)
        count += llama_parameter(model, i).tensor->dtype == dtype;
    return count;
}

static void check_quant(Dtype dtype, bool tied, uint32_t hidden, uint32_t quantised)
{
    TestPath folder = write_model(dtype_name(dtype), tied, hidden);
    uint64_t used = gpu_memory_used(device);
    Llama quant = load_as(folder.text, dtype);
    uint64_t taken = gpu_memory_used(device) - used;
    Llama full = load_model(folder.text);
    uint64_t whole = gpu_memory_used(device) - used - taken;
    assert_int_equal(count_dtype(&quant, dtype), quantised);
    assert_int_equal(count_dtype(&quant, DTYPE_F32),
                     llama_parameter_count(&quant.config) - quantised);
    assert_true((quant.head.span == quant.embed.span) == tied);
    assert_true(taken < whole / 2);
    round_model(&full, dtype);
    check_same_logits(&quant, &full);
    llama_free(&quant);
    llama_free(&full);
    assert_int_equal(gpu_memory_used(device), used);
    test_folder_remove(&folder);
}

static void quantised_logits_are_those_of_the_values(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        Dtype dtype = i ? DTYPE_Q4_0 : DTYPE_Q8_0;
        check_quant(dtype, true, 96, 4 * 7 + 1);
        check_quant(dtype, false, 96, 4 * 7 + 2);
        check_quant(dtype, false, 84, 4 * 6 + 2);
    }
}

// The stored types of a mixed file; K-quants need rows of 256 values, which these have not.
static void each_parameter_may_have_its_own_type(void **state)
{
    (void)state;
    LlamaConfig config = config_of(false, 96);
    Dtype dtypes[64] = {DTYPE_Q6_K, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_F16};
    static const Dtype want[] = {DTYPE_F32, DTYPE_F32, DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_F16};
    Llama model;
    Error err;
    if (!llama_make_each(&model, device, &config, dtypes, &err)) fail_msg("%s", err.text);
    for (size_t i = 0; i < llama_parameter_count(&config); i++)
        assert_int_equal(llama_parameter(&model, i).tensor->dtype, i < 5 ? want[i] : DTYPE_F32);
    llama_free(&model);
}

// ---- 16 bits -----------------------------------------------------------------------------------

static void files_of_16_bits_stay_so(void **state)
{
    (void)state;
    TestPath folder = write_model("full", true, 84);
    static const Dtype types[] = {DTYPE_F16, DTYPE_BF16};
    for (int t = 0; t < 2; t++) {
        TestPath half =
            export_to(dtype_name(types[t]), folder.text, (ExportOptions){4, types[t], 0});
        Llama stored = load_as(half.text, LLAMA_STORED), full = load_model(half.text);
        Llama rounded = load_as(folder.text, types[t]);
        LlamaParameter embed = llama_parameter(&stored, 0);
        uint32_t matrices = 4 * 7 + (llama_dtype(&embed, types[t]) == types[t]);
        assert_int_equal(count_dtype(&stored, types[t]), matrices);
        assert_int_equal(count_dtype(&rounded, types[t]), matrices);
        assert_int_equal(count_dtype(&full, DTYPE_F32), llama_parameter_count(&full.config));
        check_same_logits(&stored, &full);
        if (stored.embed.dtype == types[t]) check_same_logits(&rounded, &full);
        llama_free(&stored);
        llama_free(&full);
        llama_free(&rounded);
    }
    Llama stored = load_as(folder.text, LLAMA_STORED);
    assert_int_equal(count_dtype(&stored, DTYPE_F32), llama_parameter_count(&stored.config));
    llama_free(&stored);
}

// ---- what is refused ---------------------------------------------------------------------------

static void values_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const struct {
        Dtype dtype;
        float value;
        bool fits;
    } cases[] = {
        {DTYPE_Q8_0, NAN, false},    {DTYPE_Q8_0, INFINITY, false}, {DTYPE_Q8_0, 1e7f, false},
        {DTYPE_Q4_0, -1e6f, false},  {DTYPE_F16, 65520, false},     {DTYPE_F16, -65519, true},
        {DTYPE_F16, INFINITY, true}, {DTYPE_BF16, 3.4e38f, false},  {DTYPE_BF16, 3.38e38f, true},
        {DTYPE_BF16, NAN, true},     {DTYPE_Q8_0, 8.3e6f, true},    {DTYPE_F32, NAN, true}};
    enum { ROWS = 700, COLS = 32 }; // more than are encoded at a time
    float *values = calloc(ROWS * COLS, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error err = {""};
        Tensor w = tensor_make_as(device, MEMORY_DEVICE, cases[i].dtype, ROWS, COLS, &err);
        LlamaParameter p = {.name = "some.weight", .tensor = &w, .rows = ROWS, .cols = COLS};
        values[ROWS * COLS - 5] = cases[i].value;
        assert_true(llama_upload(device, &p, values, &err) == cases[i].fits);
        if (!cases[i].fits) assert_error(err, "tensor 'some.weight' has a value that");
        if (!cases[i].fits) assert_error(err, dtype_name(cases[i].dtype));
        tensor_free(device, &w);
    }
    free(values);
}

static void training_and_saving_need_f32(void **state)
{
    (void)state;
    TestPath folder = write_model("model", false, 96), out = test_path(own_folder.text, "out");
    Llama model = load_as(folder.text, DTYPE_Q8_0);
    const uint32_t exits[] = {2, 4};
    Error err = {""};
    assert_null(step_open(&model, exits, 2, 64, true, &err));
    assert_error(err,
                 "training needs F32 weights, but 'model.embed_tokens.weight' is held as Q8_0");
    assert_false(llama_save(&model, out.text, &err));
    assert_error(err, "saving needs F32 weights, but 'model.embed_tokens.weight' is held as Q8_0");
    assert_false(has_file(own_folder.text, "out"));
    Step *step = step_open(&model, exits, 2, 64, false, &err); // which eval does
    assert_non_null(step);
    step_close(step);
    llama_free(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(quantised_logits_are_those_of_the_values),
        cmocka_unit_test(each_parameter_may_have_its_own_type),
        TEST(files_of_16_bits_stay_so),
        cmocka_unit_test(values_that_do_not_fit_are_refused),
        TEST(training_and_saving_need_f32),
        cmocka_unit_test(no_validation_messages),
    };
    return cmocka_run_group_tests_name("model quant", tests, device_open, device_close);
}
