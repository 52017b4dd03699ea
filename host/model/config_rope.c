// RoPE as config.json states it, and the frequencies that follow: see config.h. Not the tables of
// cosines and sines, which are block.h's.
#include "model/config_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const config_rope_types[ROPE_KINDS + 1] = {
    [ROPE_DEFAULT] = "default", [ROPE_LINEAR] = "linear", [ROPE_LLAMA3] = "llama3", NULL};

// The numbers of a scaling, and the kinds that have them.
static const struct {
    const char *key;
    size_t offset; // of a double in RopeScaling
    double low, high;
    bool of[ROPE_KINDS];
    bool whole;
} FIELDS[] = {
    {"factor", offsetof(RopeScaling, factor), 1, 1e6, {false, true, true}, false},
    {"low_freq_factor", offsetof(RopeScaling, low), 1e-6, 1e6, {false, false, true}, false},
    {"high_freq_factor", offsetof(RopeScaling, high), 1e-6, 1e6, {false, false, true}, false},
    {"original_max_position_embeddings",
     offsetof(RopeScaling, original),
     1,
     1 << 24,
     {false, false, true},
     true},
};
enum { FIELD_COUNT = sizeof FIELDS / sizeof FIELDS[0] };

static double *field(RopeScaling *rope, int i)
{
    return (double *)(void *)((char *)rope + FIELDS[i].offset);
}

static bool in_range(double value, int i)
{
    return value >= FIELDS[i].low && value <= FIELDS[i].high &&
           (!FIELDS[i].whole || value == floor(value));
}

// ---- reading -----------------------------------------------------------------------------------

// An object of the file that speaks of RoPE.
typedef struct {
    const cJSON *object;
    const char *parent; // its key and a point
    const char *source;
} RopeObject;

static const cJSON *find(const RopeObject *from, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(from->object, key);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

// rope_type, or type as it was called before; newer releases write both.
static bool read_kind(RopeKind *kind, const RopeObject *from, Error *err)
{
    static const char *const keys[] = {"rope_type", "type"};
    bool given = false;
    *kind = ROPE_DEFAULT;
    for (int k = 0; k < 2; k++) {
        const cJSON *item = find(from, keys[k]);
        if (!item) continue;
        int found = 0;
        while (cJSON_IsString(item) && found < ROPE_KINDS &&
               strcmp(item->valuestring, config_rope_types[found]) != 0)
            found++;
        if (!cJSON_IsString(item) || found == ROPE_KINDS)
            return config_refuse(item, from->parent, "\"default\", \"linear\" or \"llama3\"",
                                 from->source, err);
        if (given && (RopeKind)found != *kind)
            return error_set(err, "%s: keys '%srope_type' and '%stype' differ", from->source,
                             from->parent, from->parent);
        *kind = (RopeKind)found;
        given = true;
    }
    return true;
}

static bool read_field(RopeScaling *rope, int i, const RopeObject *from, Error *err)
{
    const cJSON *item = find(from, FIELDS[i].key);
    if (!item)
        return error_set(err, "%s: key '%s%s' is missing, which %s needs", from->source,
                         from->parent, FIELDS[i].key, config_rope_types[rope->kind]);
    if (!cJSON_IsNumber(item))
        return error_set(err, "%s: key '%s%s' must be a number", from->source, from->parent,
                         FIELDS[i].key);
    if (!in_range(item->valuedouble, i))
        return error_set(err, "%s: key '%s%s' is %g, expected %s%g to %g", from->source,
                         from->parent, FIELDS[i].key, item->valuedouble,
                         FIELDS[i].whole ? "a whole number from " : "", FIELDS[i].low,
                         FIELDS[i].high);
    *field(rope, i) = item->valuedouble;
    return true;
}

static bool is_known(const char *key, RopeKind kind)
{
    static const char *const always[] = {"rope_type", "type", "rope_theta",
                                         "partial_rotary_factor"};
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++)
        if (!strcmp(key, always[i])) return true;
    for (int i = 0; i < FIELD_COUNT; i++)
        if (FIELDS[i].of[kind] && !strcmp(key, FIELDS[i].key)) return true;
    return false;
}

// A key that the kind does not have would change something here that it changes nowhere else, or
// belongs to a kind that is not known: it is refused.
static bool check_keys(const RopeObject *from, RopeKind kind, Error *err)
{
    for (const cJSON *item = from->object->child; item; item = item->next) {
        if (cJSON_IsNull(item)) continue;
        if (!is_known(item->string, kind))
            return config_refuse(item, from->parent, "no such key", from->source, err);
        if (!strcmp(item->string, "partial_rotary_factor") &&
            (!cJSON_IsNumber(item) || item->valuedouble != 1))
            return config_refuse(item, from->parent, "1", from->source, err);
    }
    return true;
}

static bool read_scaling(RopeScaling *rope, const RopeObject *from, Error *err)
{
    *rope = (RopeScaling){.kind = ROPE_DEFAULT};
    if (!cJSON_IsObject(from->object))
        return config_refuse(from->object, "", "an object or null", from->source, err);
    if (!read_kind(&rope->kind, from, err) || !check_keys(from, rope->kind, err)) return false;
    for (int i = 0; i < FIELD_COUNT; i++)
        if (FIELDS[i].of[rope->kind] && !read_field(rope, i, from, err)) return false;
    if (rope->kind != ROPE_LLAMA3 || rope->low < rope->high) return true;
    return error_set(err,
                     "%s: key '%slow_freq_factor' is %g, expected less than high_freq_factor, "
                     "%g",
                     from->source, from->parent, rope->low, rope->high);
}

static bool same_scaling(RopeScaling a, RopeScaling b)
{
    return a.kind == b.kind && a.factor == b.factor && a.low == b.low && a.high == b.high &&
           a.original == b.original;
}

// Where theta stands in more than one place, all must say the same.
static bool read_theta(LlamaConfig *config, const cJSON *before, const RopeObject *from, Error *err)
{
    double outer = config->rope_theta;
    if (!json_number_or(&config->rope_theta, from->object, "rope_theta", outer, THETA_LOW,
                        THETA_HIGH, from->source, err))
        return false;
    if (!before || !find(from, "rope_theta") || config->rope_theta == outer) return true;
    return error_set(err, "%s: key 'rope_theta' is %g but '%srope_theta' is %g", from->source,
                     outer, from->parent, config->rope_theta);
}

bool config_read_rope(LlamaConfig *config, const cJSON *object, const char *source, Error *err)
{
    const RopeObject whole = {object, "", source};
    const cJSON *theta = find(&whole, "rope_theta");
    RopeObject all[] = {{find(&whole, "rope_scaling"), "rope_scaling.", source},
                        {find(&whole, "rope_parameters"), "rope_parameters.", source}};
    RopeScaling found[2];
    if (!json_number_or(&config->rope_theta, object, "rope_theta", 10000, THETA_LOW, THETA_HIGH,
                        source, err))
        return false;
    for (int i = 0; i < 2; i++) {
        if (!all[i].object) continue;
        if (!read_scaling(&found[i], &all[i], err) || !read_theta(config, theta, &all[i], err))
            return false;
        config->rope = found[i];
        if (!theta) theta = find(&all[i], "rope_theta");
    }
    if (!all[0].object || !all[1].object || same_scaling(found[0], found[1])) return true;
    return error_set(err, "%s: keys 'rope_scaling' and 'rope_parameters' differ", source);
}

// ---- checking, writing -------------------------------------------------------------------------

bool config_check_rope(const LlamaConfig *config, const char *source, Error *err)
{
    RopeScaling rope = config->rope;
    if (!(config->rope_theta >= THETA_LOW && config->rope_theta <= THETA_HIGH))
        return error_set(err, "%s: rope_theta is %g, expected %g to %g", source, config->rope_theta,
                         THETA_LOW, THETA_HIGH);
    for (int i = 0; i < FIELD_COUNT; i++)
        if (FIELDS[i].of[rope.kind] && !in_range(*field(&rope, i), i))
            return error_set(err, "%s: %s of RoPE is %g, expected %g to %g", source, FIELDS[i].key,
                             *field(&rope, i), FIELDS[i].low, FIELDS[i].high);
    if (rope.kind != ROPE_LLAMA3 || rope.low < rope.high) return true;
    return error_set(err, "%s: low_freq_factor of RoPE is %g, expected less than %g", source,
                     rope.low, rope.high);
}

// Linear scaling under the older name of its type, alone beside its factor: releases before 4.43
// take nothing else, later ones take it, too.
bool config_write_rope(cJSON *object, const LlamaConfig *config)
{
    RopeScaling rope = config->rope;
    if (!config_set_real(object, "rope_theta", config->rope_theta)) return false;
    if (rope.kind == ROPE_DEFAULT) return cJSON_AddNullToObject(object, "rope_scaling") != NULL;
    cJSON *scaling = cJSON_AddObjectToObject(object, "rope_scaling");
    bool ok =
        scaling && cJSON_AddStringToObject(scaling, rope.kind == ROPE_LINEAR ? "type" : "rope_type",
                                           config_rope_types[rope.kind]);
    for (int i = 0; ok && i < FIELD_COUNT; i++) {
        if (!FIELDS[i].of[rope.kind]) continue;
        double value = *field(&rope, i);
        ok = FIELDS[i].whole ? cJSON_AddNumberToObject(scaling, FIELDS[i].key, value) != NULL
                             : config_set_real(scaling, FIELDS[i].key, value);
    }
    return ok;
}

// ---- frequencies -------------------------------------------------------------------------------

double config_rope_frequency(const LlamaConfig *config, uint32_t j)
{
    static const double TURN = 6.283185307179586476925;
    const RopeScaling *rope = &config->rope;
    double plain = pow(config->rope_theta, -2.0 * j / config->head_size);
    if (rope->kind == ROPE_DEFAULT) return plain;
    if (rope->kind == ROPE_LINEAR) return plain / rope->factor;
    // How often the pair turns in the first training's context: from `low` to `high` turns the
    // share of what stays as it was rises from 0 to 1.
    double turns = rope->original * plain / TURN;
    double share = (turns - rope->low) / (rope->high - rope->low);
    if (share < 0) share = 0;
    if (share > 1) share = 1;
    return (1 - share) * plain / rope->factor + share * plain;
}
