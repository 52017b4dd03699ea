// The depth policies that `strata calibrate` found for a model, in its folder as
// strata_policy.json:
//
//   {"default": "exits", "confidence": "probability",
//    "exits": [{"depth": 2, "threshold": 0.93}, ...],
//    "draft": {"depth": 2, "window": 4, "stop": 0.3},
//    "calibration": {...}}
//
// default (depth, exits or draft; depth where it is absent) is what is used where nothing else is
// asked for. exits or draft may be absent, and so may confidence, window and stop, which are as in
// policy.h then. What stands under calibration is for people.
#ifndef STRATA_INFER_POLICY_FILE_H
#define STRATA_INFER_POLICY_FILE_H

#include "infer/policy.h"

struct cJSON;

typedef enum { POLICY_FULL, POLICY_EXITS, POLICY_DRAFT } PolicyKind;

typedef struct {
    PolicyKind kind; // what is used where nothing else is asked for
    bool has_exits, has_draft;
    DepthPolicy exits, draft; // where there are some; of all blocks
} StoredPolicies;

// Reads FOLDER/strata_policy.json; *found is false, and policies are zero, where there is none. A
// file that does not fit the model is an error that names file and key; policies are zero then,
// too.
bool policy_file_load(StoredPolicies *policies, bool *found, const char *folder,
                      const LlamaConfig *config, Error *err);
// Writes it; calibration (may be NULL) stays the caller's.
bool policy_file_save(const StoredPolicies *policies, const char *folder,
                      const struct cJSON *calibration, Error *err);

#endif
