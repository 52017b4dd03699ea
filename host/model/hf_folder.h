// A model folder as Hugging Face lays it out, written beside its final name and renamed as a whole.
// Knows the small files around the weights, not the weights or the tokenizer's vocabulary.
#ifndef STRATA_MODEL_HF_FOLDER_H
#define STRATA_MODEL_HF_FOLDER_H

#include "base/error.h"
#include "model/config.h"

// A folder being written under a temporary name in the folder of path.
typedef struct {
    char path[960];  // the final name
    char temp[1000]; // the name until hf_folder_commit; write the files here
} HfFolder;

// Makes the temporary folder (and the parents of path). An existing path must be an empty folder.
bool hf_folder_begin(HfFolder *folder, const char *path, Error *err);
// Renames into place. On failure the temporary folder is gone.
bool hf_folder_commit(HfFolder *folder, Error *err);
// Removes the temporary folder and the files in it.
void hf_folder_abort(HfFolder *folder);

// Refuses a path at which hf_folder_begin could not put a folder, before any work is done: one that
// exists and is not an empty folder. Writes nothing.
bool hf_folder_check(const char *path, Error *err);

// Writes FOLDER/tokenizer_config.json (a LLaMA-2 tokenizer: <s>, </s>, <unk>, BOS added; the
// model's context) and FOLDER/generation_config.json (the ids of BOS and EOS).
bool hf_folder_write_extras(const char *folder, const LlamaConfig *config, Error *err);

#endif
