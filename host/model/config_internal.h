// What the files of config.h share: config.c (checks, relations), config_read.c, config_rope.c and
// config_write.c.
#ifndef STRATA_MODEL_CONFIG_INTERNAL_H
#define STRATA_MODEL_CONFIG_INTERNAL_H

#include "base/json.h"
#include "model/config.h"

#include <stddef.h>

#define EPSILON_LOW 1e-30
#define EPSILON_HIGH 1.0
#define THETA_LOW 1.0
#define THETA_HIGH 1e15

// A whole number of config.json. The bounds lie far above any model there is and keep every product
// in 64 bits.
typedef struct {
    const char *key;
    size_t offset; // of a uint32_t in LlamaConfig
    uint32_t low, high;
    bool required;
} ConfigSize;
enum { CONFIG_SIZES = 8, WINDOW_HIGH = 1 << 24 };
extern const ConfigSize config_sizes[CONFIG_SIZES];

// By ModelKind: model_type and what stands in architectures; model_type's list ends with NULL.
extern const char *const config_types[MODEL_KINDS + 1];
extern const char *const config_architectures[MODEL_KINDS];
// By RopeKind: rope_type.
extern const char *const config_rope_types[ROPE_KINDS + 1];
// By ExitNorm, and by separate_heads.
extern const char *const config_exit_norms[4];
extern const char *const config_exit_heads[3];

// "SOURCE: key 'PARENT.KEY' is VALUE, which is not supported; expected EXPECTED". parent may be "".
bool config_refuse(const cJSON *item, const char *parent, const char *expected, const char *source,
                   Error *err);

// Replaces the item of that key, or adds it; takes it over.
bool config_set(cJSON *object, const char *key, cJSON *item);
// The same for a number that must be read back as a real: always with a point or an exponent.
bool config_set_real(cJSON *object, const char *key, double value);

// bos_token_id and eos_token_id; also for generation_config.json.
bool config_add_tokens(cJSON *object, const LlamaConfig *config);

// config_rope.c: rope_theta, rope_scaling and rope_parameters.
bool config_read_rope(LlamaConfig *config, const cJSON *object, const char *source, Error *err);
bool config_check_rope(const LlamaConfig *config, const char *source, Error *err);
bool config_write_rope(cJSON *object, const LlamaConfig *config);

#endif
