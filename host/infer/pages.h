// Where keys, values and residuals of all sequences lie: slots in pages of PAGE_POSITIONS, taken
// and given back page by page. Which position of which sequence has which slot is in sequence.h.
#ifndef STRATA_INFER_PAGES_H
#define STRATA_INFER_PAGES_H

#include "model/block.h"
#include "model/llama.h"

#include "../../shaders/args.h"

// Letters as in model/config.h; slots = pages * PAGE_POSITIONS.
typedef struct {
    Gpu *gpu;
    uint32_t pages;  // in all
    uint32_t blocks; // L
    BlockCache
        *caches;      // (L) slots of each block's keys and values; the caller sets slots and pages
    Tensor residuals; // (slots, D) what each position enters its next block with
    uint32_t *free;   // (free_count) pages that nobody has
    uint32_t free_count;
} PagePool;

// Pages that hold so many positions.
uint32_t pages_for(uint32_t positions);
// Bytes of a page on the device: keys and values of every block, residuals.
uint64_t page_bytes(const LlamaConfig *config);

// At least one page; err names the figure where that many do not fit the device.
bool page_pool_make(PagePool *pool, Llama *model, uint32_t pages, Error *err);
void page_pool_free(PagePool *pool); // pool may be zero
// False where none is left.
bool page_take(PagePool *pool, uint32_t *page);
void page_give(PagePool *pool, uint32_t page);

#endif
