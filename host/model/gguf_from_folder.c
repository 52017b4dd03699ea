// A model folder as a GGUF file: see gguf_convert.h.
#include "base/json.h"
#include "base/quant.h"
#include "base/values.h"
#include "model/gguf_convert.h"
#include "model/gguf_model.h"
#include "model/gguf_tokenizer.h"
#include "model/hf_folder.h"
#include "model/llama.h"
#include "model/weight_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 14 };

// One tensor of the file.
typedef struct {
    char name[GGUF_NAME_LIMIT + 1];
    const WeightTensor *from;
    uint64_t rows, cols; // of a turned vector: one value a row
    uint32_t head_rows;  // 0, or its rows are turned by heads of so many
    bool vector;
    Dtype dtype;
} Item;

// llama.cpp's names of the kinds.
static const char *const ARCHS[MODEL_KINDS] = {[KIND_LLAMA] = "llama",
                                               [KIND_MISTRAL] = "llama",
                                               [KIND_QWEN2] = "qwen2",
                                               [KIND_QWEN3] = "qwen3"};

typedef struct {
    const char *path, *folder;
    LlamaConfig config;
    const char *arch;
    Item *items; // (count)
    size_t count;
    float *factors; // (head_size / 2) rope_freqs.weight, or NULL
    Dtype dtype;
} Plan;

// ---- plan --------------------------------------------------------------------------------------

static Dtype item_dtype(const Plan *plan, const Item *item)
{
    if (item->vector) return DTYPE_F32;
    Dtype dtype = plan->dtype == DTYPE_COUNT ? item->from->dtype : plan->dtype;
    return item->cols % dtype_block(dtype) ? DTYPE_F16 : dtype;
}

static bool plan_item(Plan *plan, const LlamaParameter *p, const WeightFiles *files, Error *err)
{
    Item *item = &plan->items[plan->count++];
    if (!gguf_name_from_hf(item->name, p->name))
        return error_set(err, "%s: tensor '%s' has no name in a GGUF file", plan->folder, p->name);
    item->from = weight_files_expect(files, p->name, p->rows ? p->rows : 1, p->cols, err);
    if (!item->from) return false;
    bool turned = gguf_is_turned(item->name) && !strcmp(plan->arch, "llama");
    item->vector = !p->rows;
    item->head_rows = turned ? plan->config.head_size : 0;
    item->rows = item->vector ? (turned ? p->cols : 1) : p->rows;
    item->cols = item->vector && turned ? 1 : p->cols;
    item->dtype = item_dtype(plan, item);
    return true;
}

static bool plan_items(Plan *plan, const WeightFiles *files, Error *err)
{
    const LlamaConfig *c = &plan->config;
    Llama shape = {.config = *c, .blocks = calloc(c->blocks, sizeof *shape.blocks)};
    size_t count = llama_parameter_count(c);
    plan->items = calloc(count, sizeof *plan->items);
    bool ok = (shape.blocks && plan->items) || error_set(err, "%s: out of memory", plan->folder);
    for (size_t i = 0; ok && i < count; i++) {
        LlamaParameter p = llama_parameter(&shape, i);
        ok = plan_item(plan, &p, files, err);
    }
    free(shape.blocks);
    return ok;
}

// ---- keys --------------------------------------------------------------------------------------

typedef struct {
    char text[96];
} Key;

static Key key_of(const Plan *plan, const char *name)
{
    Key key;
    snprintf(key.text, sizeof key.text, "%s.%s", plan->arch, name);
    return key;
}

static void put_word(GgufWriter *w, const char *key, const char *text)
{
    gguf_put_text(w, key, text, strlen(text));
}

// llama.cpp's number of the type that most matrices have.
static uint32_t file_type(const Plan *plan)
{
    switch (plan->items[0].dtype) {
    case DTYPE_F16:
        return 1;
    case DTYPE_Q4_0:
        return 2;
    case DTYPE_Q8_0:
        return 7;
    case DTYPE_BF16:
        return 32;
    default:
        return 0;
    }
}

static void put_general(const Plan *plan, GgufWriter *w)
{
    char name[256];
    snprintf(name, sizeof name, "%s", plan->folder);
    for (size_t end = strlen(name); end > 1 && name[end - 1] == '/'; end--) name[end - 1] = 0;
    const char *slash = strrchr(name, '/');
    put_word(w, "general.architecture", plan->arch);
    put_word(w, "general.name", slash ? slash + 1 : name);
    gguf_put_u32(w, "general.file_type", file_type(plan));
    bool blocks = plan->dtype != DTYPE_COUNT && dtype_blocked(plan->dtype);
    if (blocks) gguf_put_u32(w, "general.quantization_version", 2);
}

static void put_sizes(const Plan *plan, GgufWriter *w)
{
    const LlamaConfig *c = &plan->config;
    const struct {
        const char *name;
        uint32_t value;
    } sizes[] = {
        {"context_length", c->context},
        {"embedding_length", c->width},
        {"block_count", c->blocks},
        {"feed_forward_length", c->hidden},
        {"attention.head_count", c->heads},
        {"attention.head_count_kv", c->kv_heads},
        {"attention.key_length", c->head_size},
        {"attention.value_length", c->head_size},
        {"rope.dimension_count", c->head_size},
        {"vocab_size", c->vocab_size},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        gguf_put_u32(w, key_of(plan, sizes[i].name).text, sizes[i].value);
    gguf_put_f32(w, key_of(plan, "attention.layer_norm_rms_epsilon").text, (float)c->norm_epsilon);
    gguf_put_f32(w, key_of(plan, "rope.freq_base").text, (float)c->rope_theta);
    if (c->window) gguf_put_u32(w, key_of(plan, "attention.sliding_window").text, c->window);
}

// A number as it will be read back from its f32.
static double kept(double value)
{
    return gguf_short_decimal((double)(float)value);
}

static bool plan_factors(Plan *plan, Error *err)
{
    const LlamaConfig *c = &plan->config;
    const RopeScaling3 s = {kept(c->rope.factor), kept(c->rope.low), kept(c->rope.high),
                            kept(c->rope.original)};
    if (c->rope.kind != ROPE_LLAMA3) return true;
    plan->factors = calloc(c->head_size / 2, sizeof *plan->factors);
    if (!plan->factors) return error_set(err, "%s: out of memory", plan->folder);
    gguf_rope_factors(plan->factors, &s, kept(c->rope_theta), c->head_size);
    return true;
}

static void put_rope(const Plan *plan, GgufWriter *w)
{
    const RopeScaling *rope = &plan->config.rope;
    if (rope->kind == ROPE_LINEAR) {
        put_word(w, key_of(plan, "rope.scaling.type").text, "linear");
        gguf_put_f32(w, key_of(plan, "rope.scaling.factor").text, (float)rope->factor);
    } else if (rope->kind == ROPE_LLAMA3) { // beside rope_freqs.weight
        gguf_put_f32(w, "strata.rope.factor", (float)rope->factor);
        gguf_put_f32(w, "strata.rope.low_freq_factor", (float)rope->low);
        gguf_put_f32(w, "strata.rope.high_freq_factor", (float)rope->high);
        gguf_put_f32(w, "strata.rope.original_context_length", (float)rope->original);
    }
}

static void put_list(GgufWriter *w, const char *key, const uint32_t *values, uint32_t count)
{
    if (!count) return;
    gguf_put_array(w, key, GGUF_U32, count);
    gguf_put_elements(w, values, count * sizeof *values);
}

// What GGUF has no key for: exits, and every id that ends a text where it has the tokenizer's one.
static void put_own(const Plan *plan, GgufWriter *w)
{
    static const char *const norms[] = {[EXIT_NORM_SHARED] = "shared",
                                        [EXIT_NORM_PER_EXIT] = "per_exit",
                                        [EXIT_NORM_NONE] = "none"};
    const LlamaConfig *c = &plan->config;
    put_list(w, "strata.exits", c->exits, c->exit_count);
    if (c->exit_norm != EXIT_NORM_SHARED) put_word(w, "strata.exit_norm", norms[c->exit_norm]);
    if (c->separate_heads) put_word(w, "strata.exit_head", "separate");
    put_list(w, "strata.eos_token_ids", c->eos, c->eos_count);
}

// ---- tokenizer ---------------------------------------------------------------------------------

static bool put_file(GgufWriter *w, const char *key, const char *folder, const char *name,
                     Error *err)
{
    char path[1024], *text;
    size_t size;
    if (!path_join(path, sizeof path, folder, name, err)) return false;
    if (!file_exists(path)) return true;
    if (!file_read(&text, &size, path, 1 << 24, err)) return false;
    gguf_put_text(w, key, text, size);
    free(text);
    return true;
}

static const char *string_of(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

// The template of a folder: in tokenizer_config.json, or a file of its own. Of a list of named ones
// the default.
static bool put_template(const Plan *plan, GgufWriter *w, Error *err)
{
    static const char key[] = "tokenizer.chat_template";
    char path[1024];
    if (!path_join(path, sizeof path, plan->folder, "tokenizer_config.json", err)) return false;
    cJSON *json = file_exists(path) ? json_read(path, err) : cJSON_CreateObject();
    if (!json) return false;
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, "chat_template");
    const char *text = string_of(json, "chat_template");
    for (const cJSON *one = cJSON_IsArray(item) ? item->child : NULL; one; one = one->next)
        if (!strcmp(string_of(one, "name"), "default")) text = string_of(one, "template");
    bool ok = true;
    if (*text)
        put_word(w, key, text);
    else
        ok = put_file(w, key, plan->folder, "chat_template.jinja", err);
    cJSON_Delete(json);
    return ok;
}

static bool put_parts(GgufWriter *w, const char *folder, uint32_t vocab_size, const Tokenizer *t,
                      Error *err)
{
    HfTokenizer parts;
    if (!hf_tokenizer_open(&parts, folder, vocab_size, err)) return false;
    parts.parts.bos = tokenizer_bos(t);
    parts.parts.eos = tokenizer_eos(t);
    parts.parts.add_bos = tokenizer_adds_bos(t);
    parts.parts.add_eos = tokenizer_adds_eos(t);
    gguf_put_tokenizer(w, &parts.parts);
    gguf_put_text(w, "tokenizer.huggingface.json", parts.text, parts.text_size);
    hf_tokenizer_close(&parts);
    return true;
}

// Of a folder that has only tokenizer.model: through the tokenizer.json that encodes the same,
// which stands beside the file for a moment.
static bool put_converted(const Plan *plan, GgufWriter *w, const Tokenizer *t, Error *err)
{
    char name[960], path[1024];
    HfFolder scratch;
    snprintf(name, sizeof name, "%.940s.tokenizer", plan->path);
    if (!hf_folder_begin(&scratch, name, err)) return false;
    bool ok = path_join(path, sizeof path, scratch.temp, "tokenizer.json", err) &&
              tokenizer_save(t, path, err) &&
              put_parts(w, scratch.temp, plan->config.vocab_size, t, err);
    hf_folder_abort(&scratch);
    return ok;
}

static bool put_tokenizer(const Plan *plan, GgufWriter *w, Error *err)
{
    char path[1024];
    if (!path_join(path, sizeof path, plan->folder, "tokenizer.json", err)) return false;
    Tokenizer *t = tokenizer_load_folder(plan->folder, err); // checks what is copied here
    bool ok = t && (file_exists(path) ? put_parts(w, plan->folder, plan->config.vocab_size, t, err)
                                      : put_converted(plan, w, t, err));
    tokenizer_free(t);
    return ok && put_template(plan, w, err);
}

// ---- data --------------------------------------------------------------------------------------

static bool declare(const Plan *plan, GgufWriter *w, Error *err)
{
    uint64_t half = plan->config.head_size / 2;
    if (plan->factors && !gguf_declare(w, "rope_freqs.weight", DTYPE_F32, 1, &half, err))
        return false;
    for (size_t i = 0; i < plan->count; i++) {
        const Item *item = &plan->items[i];
        uint64_t shape[2] = {item->rows, item->cols}, length = item->rows * item->cols;
        if (!gguf_declare(w, item->name, item->dtype, item->vector ? 1 : 2,
                          item->vector ? &length : shape, err))
            return false;
    }
    return true;
}

static bool refuse_value(const Item *item, float value, Error *err)
{
    return error_set(err, "%s: tensor '%.100s' holds %g, which %s cannot hold", item->from->path,
                     item->from->name, (double)value, dtype_name(item->dtype));
}

// values (count) as the item's dtype.
static bool put_values(GgufWriter *w, const Item *item, const float *values, uint64_t count,
                       Error *err)
{
    union {
        uint8_t bytes[PIECE * sizeof(float)];
        uint16_t halves[PIECE];
    } out;
    if (item->dtype == DTYPE_F32) {
        gguf_put_data(w, values, count * sizeof *values);
        return true;
    }
    if (dtype_blocked(item->dtype)) {
        if (!quant_encode(item->dtype, values, count, out.bytes))
            return error_set(err, "%s: tensor '%.100s' holds a value that %s cannot hold",
                             item->from->path, item->from->name, dtype_name(item->dtype));
    } else {
        const float *large = values_narrow(item->dtype, values, count, out.halves);
        if (large) return refuse_value(item, *large, err);
    }
    gguf_put_data(w, out.bytes, dtype_bytes(item->dtype, count));
    return true;
}

// Values first .. first + count - 1 of the folder's tensor.
static bool put_range(GgufWriter *w, const Item *item, uint64_t first, uint64_t count, Error *err)
{
    float values[PIECE];
    for (uint64_t end = first + count; first < end; first += PIECE) {
        uint64_t part = end - first < PIECE ? end - first : PIECE;
        weight_tensor_values(item->from, first, part, values);
        if (!put_values(w, item, values, part, err)) return false;
    }
    return true;
}

// Rows in the file's order: 2j is row j of a head, and 2j + 1 row j + S/2.
static bool put_item(GgufWriter *w, const Item *item, Error *err)
{
    bool same = item->dtype == item->from->dtype;
    if (!item->head_rows) {
        if (!same) return put_range(w, item, 0, item->rows * item->cols, err);
        gguf_put_data(w, item->from->data, item->from->size);
        return true;
    }
    for (uint64_t row = 0; row < item->rows; row++) {
        uint64_t size = item->head_rows, g = row % size;
        uint64_t from = row - g + (g % 2 ? g / 2 + size / 2 : g / 2);
        uint64_t bytes = dtype_bytes(item->from->dtype, item->cols);
        if (same)
            gguf_put_data(w, item->from->data + from * bytes, bytes);
        else if (!put_range(w, item, from * item->cols, item->cols, err))
            return false;
    }
    return true;
}

// ---- file --------------------------------------------------------------------------------------

static bool put_all(const Plan *plan, GgufWriter *w, Error *err)
{
    put_general(plan, w);
    put_sizes(plan, w);
    put_rope(plan, w);
    put_own(plan, w);
    if (!put_tokenizer(plan, w, err) || !declare(plan, w, err) || !gguf_begin_data(w, err))
        return false;
    if (plan->factors)
        gguf_put_data(w, plan->factors, plan->config.head_size / 2 * sizeof *plan->factors);
    for (size_t i = 0; i < plan->count; i++)
        if (!put_item(w, &plan->items[i], err)) return false;
    return true;
}

static bool write_file(Plan *plan, Error *err)
{
    if (!plan_factors(plan, err)) return false;
    GgufWriter *w = gguf_create(plan->path, err);
    if (!w) return false;
    if (put_all(plan, w, err)) return gguf_commit(w, err);
    gguf_abort(w);
    return false;
}

bool gguf_from_folder(const char *out, const char *folder, Dtype dtype, Error *err)
{
    Plan plan = {.path = out, .folder = folder, .dtype = dtype};
    WeightFiles files;
    if (!config_load(&plan.config, folder, err) || !weight_files_open(&files, folder, err))
        return false;
    plan.arch = ARCHS[plan.config.kind];
    bool ok = plan_items(&plan, &files, err) && write_file(&plan, err);
    weight_files_close(&files);
    free(plan.items);
    free(plan.factors);
    return ok;
}
