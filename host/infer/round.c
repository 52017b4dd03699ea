// One sweep through the depths: see round.h.
#include "infer/round.h"

#include <string.h>

// Those that are at their depth take their logits; who is done with the round goes to the end of
// the list, and *count is how many are not.
static bool take(Decoder **list, size_t *count, uint32_t depth, Error *err)
{
    for (size_t i = 0; i < *count;) {
        Decoder *decoder = list[i];
        if (decoder_depth(decoder) == depth) {
            if (!decoder_take(decoder, err)) return false;
            if (decoder_depth(decoder) <= depth) { // its next token, or its end
                list[i] = list[--*count];
                list[*count] = decoder;
                continue;
            }
        }
        i++;
    }
    return true;
}

// What an advance to `depth` is for.
static const char *phase_of(Decoder *const *list, size_t count, uint32_t depth)
{
    const char *phase = "";
    for (size_t i = 0; i < count; i++) {
        if (decoder_depth(list[i]) != depth) continue;
        const char *own = decoder_phase(list[i]);
        phase = !phase[0] || !strcmp(phase, own) ? own : "mixed";
    }
    return phase;
}

static bool advance(Engine *engine, Decoder *const *list, const Advance *wants, size_t count,
                    uint32_t depth, Error *err)
{
    Gpu *gpu = engine_model(engine)->gpu;
    gpu_set_phase(gpu, phase_of(list, count, depth));
    bool ok = engine_advance(engine, wants, count, depth, err);
    gpu_set_phase(gpu, "");
    return ok;
}

bool decoders_round(Engine *engine, Decoder **list, Advance *wants, size_t count, Error *err)
{
    while (count > 0) {
        uint32_t depth = UINT32_MAX;
        for (size_t i = 0; i < count; i++)
            if (decoder_depth(list[i]) < depth) depth = decoder_depth(list[i]);
        for (size_t i = 0; i < count; i++) wants[i] = decoder_want(list[i], depth);
        if (!advance(engine, list, wants, count, depth, err) || !take(list, &count, depth, err))
            return false;
    }
    return true;
}
