// The small LLaMA of tests/reference: see soft_reference.h.
#include "support/soft_reference.h"

#include "support/device.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const uint32_t REFERENCE_LENGTHS[REFERENCE_SEQUENCES] = {17, 1, 23};
const uint32_t REFERENCE_DEPTHS[REFERENCE_EXITS] = {1, 3, 4};

static void upload(Tensor tensor, const float *values)
{
    Error err;
    if (!tensor_upload(device, tensor, values, &err)) fail_msg("%s", err.text);
}

static void load_parameters(Llama *model, const char *path)
{
    for (size_t i = 0; i < llama_parameter_count(&model->config); i++) {
        LlamaParameter p = llama_parameter(model, i);
        float *values = read_tensor(path, p.name, p.rows ? p.rows : 1, p.cols);
        upload(*p.tensor, values);
        free(values);
    }
}

Reference *reference_open(bool tied)
{
    LlamaConfig config = small_config();
    config.vocab_size = REFERENCE_VOCAB;
    config.tied = tied;
    return reference_open_as(&config, tied ? "soft_tied" : "soft_untied");
}

Reference *reference_open_as(const LlamaConfig *config, const char *name)
{
    Reference *ref = calloc(1, sizeof *ref);
    assert_non_null(ref);
    snprintf(ref->path, sizeof ref->path, "%s/tests/reference/%s.safetensors", TEST_ROOT, name);
    Error err;
    if (!llama_make(&ref->model, device, config, &err)) fail_msg("%s", err.text);
    load_parameters(&ref->model, ref->path);
    float *tokens = read_tensor(ref->path, "tokens", REFERENCE_ROWS, 1);
    float *targets = read_tensor(ref->path, "targets", REFERENCE_ROWS, 1);
    for (int i = 0; i < REFERENCE_ROWS; i++) {
        ref->tokens[i] = (uint32_t)tokens[i];
        ref->targets[i] = (int)targets[i];
        ref->supervised += ref->targets[i] >= 0;
    }
    free(tokens);
    free(targets);
    return ref;
}

void reference_close(Reference *ref)
{
    llama_free(&ref->model);
    free(ref);
}

void reference_fill(Batch *batch, const Reference *ref, uint32_t first, uint32_t last)
{
    uint32_t row = 0, tokens[REFERENCE_ROWS + 1] = {0};
    for (uint32_t s = 0; s < first; s++) row += REFERENCE_LENGTHS[s];
    batch_begin(batch);
    for (uint32_t s = first; s < last; row += REFERENCE_LENGTHS[s++]) {
        uint32_t length = REFERENCE_LENGTHS[s] + 1, begin = batch->used;
        memcpy(tokens, ref->tokens + row, REFERENCE_LENGTHS[s] * sizeof *tokens);
        assert_true(batch_add(batch, tokens, length, length));
        uint32_t *index = tensor_host(batch->index), *targets = tensor_host(batch->targets);
        for (uint32_t i = 0; i < REFERENCE_LENGTHS[s]; i++) {
            if (ref->targets[row + i] < 0) continue;
            index[batch->supervised] = begin + i;
            targets[batch->supervised++] = (uint32_t)ref->targets[row + i];
        }
    }
    batch_end(batch);
}

void reference_check(const Reference *ref, LlamaParameter p)
{
    char name[128];
    snprintf(name, sizeof name, "grad.%s", p.name);
    uint32_t rows = p.rows ? p.rows : 1;
    float *expected = read_tensor(ref->path, name, rows, p.cols), *found = download(*p.tensor);
    double norm = 0, difference = 0;
    for (size_t i = 0; i < (size_t)rows * p.cols; i++) {
        norm += (double)expected[i] * expected[i];
        difference += pow((double)found[i] - expected[i], 2);
    }
    if (!(sqrt(difference) <= 1e-4 * sqrt(norm))) // a block that is left out has none
        fail_msg("%s: relative error %.2e", name, sqrt(difference / norm));
    free(expected);
    free(found);
}

void reference_check_all(const Reference *ref, Step *step)
{
    Llama *gradients = step_gradients(step);
    for (size_t i = 0; i < llama_parameter_count(&gradients->config); i++) {
        LlamaParameter p = llama_parameter(gradients, i);
        if (p.tensor->span) reference_check(ref, p);
    }
}
