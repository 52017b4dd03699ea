// Makes examples of records: tokens, which of them carry loss, where the context cuts. Instruction
// records and chats are an example each; documents are cut and packed. Not the reading of files
// (data_source.h).
#ifndef STRATA_TRAIN_EXAMPLE_BUILDER_H
#define STRATA_TRAIN_EXAMPLE_BUILDER_H

#include "text/tokenizer.h"
#include "train/token_file.h"

// Holds a record, and a pack of documents that is not full yet: little more than two contexts.
typedef struct {
    const Tokenizer *tokenizer;
    TokenWriter *out;
    uint32_t context; // tokens of an example's sequence, 2 at least
    TokenList record; // of the record at hand; ids with flags, as in example_builder.c
    TokenList piece;  // of the document at hand, at most context
    TokenList pack;   // pieces that make an example; rows at most context - 1
    uint32_t pack_sequences;
    uint8_t *marks; // (marks_size) scratch
    size_t marks_size;
    uint64_t records; // that were begun
} ExampleBuilder;

void example_builder_begin(ExampleBuilder *builder, TokenWriter *out, const Tokenizer *tokenizer,
                           uint32_t context);
void example_builder_free(ExampleBuilder *builder);

// One record of rounds: BOS, then for each round prompt and answer encoded as one text, EOS. As
// many of a round's leading tokens as its prompt alone has carry no loss; answer and EOS do. The
// record is cut at the context, and dropped where nothing that carries loss is left.
bool example_builder_record(ExampleBuilder *builder, Error *err);
bool example_builder_round(ExampleBuilder *builder, const char *prompt, const char *answer,
                           Error *err);
bool example_builder_record_end(ExampleBuilder *builder, Error *err);

// One document, in stretches: BOS, its tokens, EOS; all but BOS carry loss. Longer ones than the
// context are cut into pieces, each beginning with the last token of the one before, so that every
// token is a target once. Pieces are laid end to end up to the context's rows.
bool example_builder_text(ExampleBuilder *builder, const char *text, size_t size, Error *err);
bool example_builder_text_end(ExampleBuilder *builder, Error *err);

// The last, unfilled pack.
bool example_builder_flush(ExampleBuilder *builder, Error *err);

#endif
