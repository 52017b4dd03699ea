// Storage types of a training run: see storage.h.
#include "train/storage.h"
#include "base/json.h"

static bool read_type(Dtype *type, const cJSON *config, const char *key, const char *file,
                      Error *err)
{
    static const char *const words[] = {"f32", "f16", "bf16", NULL};
    static const Dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    int word;
    if (!json_word_or(&word, config, key, words, file, err)) return false;
    *type = types[word];
    return true;
}

bool storage_read(StorageTypes *types, const cJSON *config, const char *file, Error *err)
{
    static const char *const words[] = {"f32", "q8", NULL};
    int moments;
    if (!read_type(&types->weights, config, "weight_dtype", file, err) ||
        !read_type(&types->gradients, config, "gradient_dtype", file, err) ||
        !read_type(&types->activations, config, "activation_dtype", file, err) ||
        !json_word_or(&moments, config, "moment_dtype", words, file, err))
        return false;
    types->moments = moments ? DTYPE_U8 : DTYPE_F32;
    return true;
}

bool storage_check(const StorageTypes *types, const LlamaConfig *m, Error *err)
{
    const struct {
        const char *name;
        uint32_t size;
    } widths[] = {{"hidden_size", m->width},
                  {"intermediate_size", m->hidden},
                  {"num_attention_heads * head_dim", m->heads * m->head_size},
                  {"num_key_value_heads * head_dim", m->kv_heads * m->head_size}};
    if (types->activations == DTYPE_F32) return true;
    for (int i = 0; i < 4; i++)
        if (widths[i].size % 4)
            return error_set(err,
                             "activation_dtype: the model's %s is %u, of 16 bits only multiples of "
                             "4 can be stored",
                             widths[i].name, (unsigned)widths[i].size);
    return true;
}
