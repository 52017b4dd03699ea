// SoFT's choices: see soft.h.
#include "train/soft.h"
#include "base/json.h"

#include <math.h>

// ---- the config --------------------------------------------------------------------------------

static bool read_list(SoftChoices *choices, const cJSON *list, const char *file, Error *err)
{
    choices->weighting = WEIGHTS_LIST;
    for (const cJSON *item = list->child; item; item = item->next) {
        double weight = cJSON_IsNumber(item) ? item->valuedouble : -1;
        if (!(weight >= 0 && weight <= 1e6))
            return error_set(err, "%s: key 'exit_weights' must hold numbers from 0 to 1e6", file);
        if (choices->list_count == CONFIG_MAX_EXITS)
            return error_set(err, "%s: key 'exit_weights' holds more than %d numbers", file,
                             CONFIG_MAX_EXITS);
        choices->list[choices->list_count++] = weight;
    }
    return true;
}

static bool read_weights(SoftChoices *choices, const cJSON *config, const char *file, Error *err)
{
    static const char *const words[] = {"mean", "sum", "depth", NULL};
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(config, "exit_weights");
    if (cJSON_IsArray(value)) return read_list(choices, value, file, err);
    int weighting;
    if (!json_word_or(&weighting, config, "exit_weights", words, file, err)) return false;
    choices->weighting = (ExitWeighting)weighting;
    return true;
}

static bool read_words(SoftChoices *choices, const cJSON *config, const char *file, Error *err)
{
    static const char *const curricula[] = {"all", "rotational", "gradual", NULL};
    static const char *const norms[] = {"shared", "per_exit", "none", NULL};
    static const char *const heads[] = {"shared", "separate", NULL};
    int curriculum, norm, head;
    if (!json_word_or(&curriculum, config, "curriculum", curricula, file, err) ||
        !json_word_or(&norm, config, "exit_norm", norms, file, err) ||
        !json_word_or(&head, config, "exit_head", heads, file, err))
        return false;
    choices->curriculum = (Curriculum)curriculum;
    choices->exit_norm = (ExitNorm)norm;
    choices->separate_heads = head == 1;
    return true;
}

bool soft_read(SoftChoices *choices, const cJSON *config, const char *file, Error *err)
{
    int64_t rotation;
    *choices = (SoftChoices){0};
    bool ok =
        read_weights(choices, config, file, err) && read_words(choices, config, file, err) &&
        json_number_or(&choices->exit_scale, config, "exit_scale", 1, 0, 1e6, file, err) &&
        json_int_or(&rotation, config, "rotation", 2, 1, CONFIG_MAX_EXITS, file, err) &&
        json_number_or(&choices->layer_dropout, config, "layer_dropout", 0, 0, 1, file, err) &&
        json_number_or(&choices->distill, config, "distill", 0, 0, 1e6, file, err) &&
        json_number_or(&choices->temperature, config, "distill_temperature", 1, 1e-3, 1e3, file,
                       err);
    if (ok) choices->rotation = (uint32_t)rotation;
    return ok;
}

bool soft_is_plain(const SoftChoices *c)
{
    return c->weighting == WEIGHTS_MEAN && c->curriculum == CURRICULUM_ALL &&
           c->exit_norm == EXIT_NORM_SHARED && !c->separate_heads && c->distill == 0;
}

// ---- shares ------------------------------------------------------------------------------------

static bool takes_part(const SoftChoices *c, uint32_t e, uint32_t count, uint64_t step,
                       uint64_t steps)
{
    uint32_t from_deepest = count - 1 - e;
    if (!from_deepest || c->curriculum == CURRICULUM_ALL) return true;
    if (c->curriculum == CURRICULUM_ROTATIONAL) return (e + step) % c->rotation == 0;
    return (double)step > (double)from_deepest * (double)steps / (2.0 * count);
}

// Before the shares are brought to a sum of 1.
static double raw_share(const SoftChoices *c, uint32_t e, uint32_t depth, uint32_t blocks)
{
    double l = depth - 1;
    if (c->weighting == WEIGHTS_LIST) return c->list[e];
    if (c->weighting != WEIGHTS_DEPTH) return 1;
    return depth == blocks ? l + c->exit_scale * (l - 1) * l / 2 : c->exit_scale * l * (l + 1) / 2;
}

void soft_shares(double *shares, const SoftChoices *c, const uint32_t *exits, uint32_t count,
                 uint32_t blocks, uint64_t step, uint64_t steps)
{
    double sum = 0;
    for (uint32_t e = 0; e < count; e++) {
        bool part = takes_part(c, e, count, step, steps);
        shares[e] = part ? raw_share(c, e, exits[e], blocks) : 0;
        sum += shares[e];
    }
    if (c->weighting == WEIGHTS_SUM || c->weighting == WEIGHTS_LIST) return;
    if (sum == 0) shares[count - 1] = sum = 1; // depth weights of a model with one block
    for (uint32_t e = 0; e < count; e++) shares[e] /= sum;
}

void soft_drop(bool *skip, const SoftChoices *c, uint32_t blocks, Random *random)
{
    for (uint32_t l = 0; l < blocks; l++) {
        double rise = blocks > 1 ? exp2((double)l / (blocks - 1)) - 1 : 1;
        skip[l] = random_uniform(random) < c->layer_dropout * rise;
    }
}
