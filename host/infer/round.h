// A step of several decoders together.
#ifndef STRATA_INFER_ROUND_H
#define STRATA_INFER_ROUND_H

#include "infer/decoder.h"

// One token, draft or check of each decoder, none of which has ended, in one sweep through the
// depths: where some stop, the others go on deeper together. Reorders list (count); wants (count)
// is scratch. False: a failure of the device, or of a decoder.
bool decoders_round(Engine *engine, Decoder **list, Advance *wants, size_t count, Error *err);

#endif
