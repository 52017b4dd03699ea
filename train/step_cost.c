// The operations of a training step: see step_cost.h.
#include "train/step_cost.h"

void step_rows_add(StepRows *sum, const LlamaConfig *config, uint32_t rows, uint32_t supervised)
{
    double seen = config->window && config->window < rows ? config->window : rows;
    sum->rows += rows;
    sum->supervised += supervised;
    sum->pairs += seen * (rows - 0.5 * (seen - 1));
}

// Values of a block's matrices.
static double block_matrices(const LlamaConfig *c)
{
    double heads = (double)c->heads * c->head_size, kv = (double)c->kv_heads * c->head_size;
    return 2.0 * heads * c->width + 2.0 * kv * c->width + 3.0 * c->hidden * c->width;
}

double step_operations(const LlamaConfig *c, const uint32_t *exits, uint32_t exit_count,
                       const StepRows *r)
{
    double block = 2.0 * block_matrices(c) * r->rows + 4.0 * c->heads * c->head_size * r->pairs;
    double head = 2.0 * c->vocab_size * c->width * r->supervised;
    return 3.0 * (exits[exit_count - 1] * block + exit_count * head);
}
