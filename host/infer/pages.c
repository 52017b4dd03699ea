// The pool of pages: see pages.h.
#include "infer/pages.h"

#include <assert.h>
#include <stdlib.h>

uint32_t pages_for(uint32_t positions)
{
    return positions / PAGE_POSITIONS + (positions % PAGE_POSITIONS != 0);
}

uint64_t page_bytes(const LlamaConfig *c)
{
    uint64_t kv = (uint64_t)2 * c->blocks * c->kv_heads * c->head_size;
    return 4 * PAGE_POSITIONS * (kv + c->width);
}

// Keys, values and residuals are bound whole.
static bool fits_binding(const Llama *model, uint32_t pages, Error *err)
{
    const LlamaConfig *c = &model->config;
    uint64_t kv = (uint64_t)c->kv_heads * c->head_size, widest = c->width > kv ? c->width : kv;
    uint64_t bytes = 4 * PAGE_POSITIONS * widest * pages;
    uint64_t most = gpu_info(model->gpu)->binding_bytes;
    if (bytes <= most) return true;
    return error_set(err,
                     "KV cache of %llu positions: %llu bytes in one block, but a binding of device "
                     "%s holds %llu",
                     (unsigned long long)pages * PAGE_POSITIONS, (unsigned long long)bytes,
                     gpu_info(model->gpu)->name, (unsigned long long)most);
}

static bool make_tensors(PagePool *pool, const LlamaConfig *c, Error *err)
{
    uint32_t slots = pool->pages * PAGE_POSITIONS, cols = c->kv_heads * c->head_size;
    pool->residuals = tensor_make(pool->gpu, MEMORY_DEVICE, slots, c->width, err);
    bool ok = pool->residuals.span != NULL;
    for (uint32_t i = 0; ok && i < c->blocks; i++) {
        Tensor *both[] = {&pool->caches[i].k, &pool->caches[i].v};
        for (int j = 0; ok && j < 2; j++) {
            *both[j] = tensor_make(pool->gpu, MEMORY_DEVICE, slots, cols, err);
            ok = both[j]->span != NULL;
        }
    }
    return ok;
}

bool page_pool_make(PagePool *pool, Llama *model, uint32_t pages, Error *err)
{
    assert(pages > 0);
    *pool = (PagePool){.gpu = model->gpu, .pages = pages, .blocks = model->config.blocks};
    if (!fits_binding(model, pages, err)) return false;
    pool->caches = calloc(pool->blocks, sizeof *pool->caches);
    pool->free = malloc(pages * sizeof *pool->free);
    if (!pool->caches || !pool->free) {
        error_set(err, "out of memory");
    } else if (make_tensors(pool, &model->config, err)) {
        for (uint32_t i = 0; i < pages; i++) pool->free[i] = pages - 1 - i;
        pool->free_count = pages;
        return true;
    }
    page_pool_free(pool);
    return false;
}

void page_pool_free(PagePool *pool)
{
    for (uint32_t i = 0; pool->caches && i < pool->blocks; i++) {
        tensor_free(pool->gpu, &pool->caches[i].k);
        tensor_free(pool->gpu, &pool->caches[i].v);
    }
    if (pool->gpu) tensor_free(pool->gpu, &pool->residuals);
    free(pool->caches);
    free(pool->free);
    *pool = (PagePool){0};
}

bool page_take(PagePool *pool, uint32_t *page)
{
    if (!pool->free_count) return false;
    *page = pool->free[--pool->free_count];
    return true;
}

void page_give(PagePool *pool, uint32_t page)
{
    assert(page < pool->pages && pool->free_count < pool->pages);
    pool->free[pool->free_count++] = page;
}
