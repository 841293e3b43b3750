/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Each pair of thread and arena has a cache. With jemalloc this is an explicit tcache, which holds
 * blocks of one arena only, and a byte count with a single writer. The allocations that run a
 * million times in a refresh therefore use no locked instruction. Only arena_bytes(), which is
 * called rarely, takes a lock.
 *
 * A thread finds its cache in a thread-local array by the arena's slot. A serial number
 * distinguishes an arena from a destroyed arena that had the slot before.
 */
#include "lpm/base/arena.h"

#include "lpm/base/in_use.h"
#include "lpm/base/inspect.h"
#include "lpm/base/region.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef KEEL_JEMALLOC
#include <jemalloc/jemalloc.h>
#else
#include <malloc.h>
#endif

#define ARENAS_MAX 64
#define RESERVE_BLOCK ((size_t)2 << 20)
#define RESERVE_BLOCKS 16u
/* twice the size of an aligned metadata block of jemalloc */
#define COMMON_PIECE ((size_t)4 << 20)
#define COMMON_PIECES 8u
#define ALLOC_MIN 16 /* jemalloc aligns smaller size classes to 8 bytes only */

/*
 * Writer: the cache's thread. Exception: `shared` in struct arena, which all threads update by
 * fetch_add.
 */
struct cache {
	/* allocated minus freed on this thread: may be negative */
	alignas(CACHE_LINE) _Atomic int64_t bytes;
	int flags; /* MALLOCX_TCACHE */
	unsigned tcache;
	struct cache *next; /* list of the arena's caches; under registry_lock */
};

struct arena {
	/* for threads without a cache, and the sum of the caches of ended threads */
	struct cache shared;
	const char *name;
	struct region *region; /* or NULL: blocks of the allocator */
	uint64_t serial;
	unsigned slot;
	int flags; /* MALLOCX_ARENA */
	unsigned index;
	struct cache *caches; /* under registry_lock */
	_Atomic(void *) reserve[RESERVE_BLOCKS]; /* unused blocks of RESERVE_BLOCK bytes */
};

struct slot {
	uint64_t serial; /* 0: empty */
	struct cache *cache;
};

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct arena *registry[ARENAS_MAX]; /* under registry_lock */
static uint64_t last_serial; /* under registry_lock */
static pthread_once_t exit_once = PTHREAD_ONCE_INIT;
static pthread_key_t exit_key;
static int exit_key_error;
static _Thread_local struct slot thread_slots[ARENAS_MAX];

#ifdef KEEL_JEMALLOC

/*
 * jemalloc reads this at start. One arena for malloc(): by default jemalloc makes four a CPU, of
 * some 60 KB each, and assigns threads to them in turn. All frequent allocations name an arena.
 */
extern const char *malloc_conf;
const char *malloc_conf = "narenas:1";

static int
backend_open(struct arena *a)
{
	size_t len = sizeof(a->index);

	if (mallctl("arenas.create", &a->index, &len, NULL, 0) != 0)
		return -ENOMEM;
	a->flags = MALLOCX_ARENA(a->index);
	a->shared.flags = MALLOCX_TCACHE_NONE;
	return 0;
}

static void
backend_close(struct arena *a)
{
	size_t mib[3], len = 3;

	if (mallctlnametomib("arena.0.destroy", mib, &len) != 0)
		return;
	mib[1] = a->index;
	(void)mallctlbymib(mib, len, NULL, NULL, NULL, 0);
}

void
arena_decay(void)
{
	size_t mib[3], len = 3;

	if (mallctlnametomib("arena.0.decay", mib, &len) != 0)
		return;
	mib[1] = MALLCTL_ARENAS_ALL;
	(void)mallctlbymib(mib, len, NULL, NULL, NULL, 0);
}

static extent_hooks_t *plain; /* jemalloc's default hooks, shared by all arenas */
static extent_hooks_t huge;

static void *
huge_alloc(extent_hooks_t *hooks, void *at, size_t size, size_t align, bool *zero, bool *commit,
	unsigned index)
{
	void *p = plain->alloc(plain, at, size, align, zero, commit, index);

	if (p != NULL)
		/* without huge pages in the kernel the memory stays as mapped */
		(void)madvise(p, size, MADV_HUGEPAGE);
	return p;
}

void
arena_use_huge(struct arena *a)
{
	size_t mib[3], len = 3, size = sizeof(plain);
	extent_hooks_t *hooks = &huge;

	if (mallctlnametomib("arena.0.extent_hooks", mib, &len) != 0)
		return;
	mib[1] = a->index;
	if (plain == NULL) {
		if (mallctlbymib(mib, len, &plain, &size, NULL, 0) != 0)
			return;
		huge = *plain;
		huge.alloc = huge_alloc;
	}
	(void)mallctlbymib(mib, len, NULL, NULL, &hooks, sizeof(hooks));
}

static void
backend_trim(struct arena *a, struct cache *c)
{
	size_t mib[3], len = 3;

	if (c != &a->shared)
		(void)mallctl("tcache.flush", NULL, NULL, &c->tcache, sizeof(c->tcache));
	if (mallctlnametomib("arena.0.purge", mib, &len) != 0)
		return;
	mib[1] = a->index;
	(void)mallctlbymib(mib, len, NULL, NULL, NULL, 0);
}

static int
backend_cache_open(struct cache *c)
{
	size_t len = sizeof(c->tcache);

	if (mallctl("tcache.create", &c->tcache, &len, NULL, 0) != 0)
		return -ENOMEM;
	c->flags = MALLOCX_TCACHE(c->tcache);
	return 0;
}

static void
backend_cache_close(struct cache *c)
{
	(void)mallctl("tcache.destroy", NULL, NULL, &c->tcache, sizeof(c->tcache));
}

static void *
backend_alloc(
	const struct arena *a, const struct cache *c, size_t align, size_t size, size_t *usable)
{
	int flags = a->flags | c->flags | (align > ALLOC_MIN ? MALLOCX_ALIGN(align) : 0);
	void *p = mallocx(size, flags);

	*usable = p != NULL ? nallocx(size, flags) : 0;
	return p;
}

static void *
backend_calloc(const struct arena *a, const struct cache *c, size_t size, size_t *usable)
{
	void *p = mallocx(size, a->flags | c->flags | MALLOCX_ZERO);

	*usable = p != NULL ? nallocx(size, 0) : 0;
	return p;
}

static void *
backend_realloc(const struct arena *a, const struct cache *c, void *p, size_t size)
{
	return rallocx(p, size, a->flags | c->flags);
}

static size_t
backend_usable(void *p)
{
	return sallocx(p, 0);
}

static void
backend_free(const struct cache *c, void *p, size_t usable)
{
	sdallocx(p, usable, c->flags);
}

#else

/* malloc returns freed pages on its own. */
void
arena_decay(void)
{
}

void
arena_use_huge(struct arena *a)
{
}

static void
backend_trim(struct arena *a, struct cache *c)
{
}

static int
backend_open(struct arena *a)
{
	return 0;
}

static void
backend_close(struct arena *a)
{
}

static int
backend_cache_open(struct cache *c)
{
	return 0;
}

static void
backend_cache_close(struct cache *c)
{
}

static void *
backend_alloc(
	const struct arena *a, const struct cache *c, size_t align, size_t size, size_t *usable)
{
	void *p = align > ALLOC_MIN ? aligned_alloc(align, size) : malloc(size);

	*usable = p != NULL ? malloc_usable_size(p) : 0;
	return p;
}

static void *
backend_calloc(const struct arena *a, const struct cache *c, size_t size, size_t *usable)
{
	void *p = calloc(1, size);

	*usable = p != NULL ? malloc_usable_size(p) : 0;
	return p;
}

static void *
backend_realloc(const struct arena *a, const struct cache *c, void *p, size_t size)
{
	return realloc(p, size);
}

static size_t
backend_usable(void *p)
{
	return malloc_usable_size(p);
}

static void
backend_free(const struct cache *c, void *p, size_t usable)
{
	free(p);
}

#endif

/* ---- the reserve ---- */

static _Atomic bool is_short; /* an allocation has failed since arena_short_end() */
/* mapped address space: main maps pieces, any thread unmaps them */
static _Atomic(void *) common[COMMON_PIECES];
static struct {
	void (*fn)(void *ctx);
	void *ctx;
} on_short;

void
arena_on_short(void (*fn)(void *ctx), void *ctx)
{
	on_short.fn = fn;
	on_short.ctx = ctx;
}

bool
arena_is_short(void)
{
	return atomic_load_explicit(&is_short, memory_order_relaxed);
}

void
arena_short_end(void)
{
	atomic_store_explicit(&is_short, false, memory_order_relaxed);
}

/*
 * Frees reserved memory after a failed allocation: first the blocks of the arena, then a piece of
 * the common reserve, because jemalloc's metadata and allocations outside of arenas need address
 * space. Returns true if the allocation can be retried.
 */
static __attribute__((noinline)) bool
reserve_use(struct arena *a)
{
	bool freed = false;
	void *p;

	for (unsigned i = 0; i < RESERVE_BLOCKS; i++) {
		p = atomic_exchange_explicit(&a->reserve[i], NULL, memory_order_acq_rel);
		if (p != NULL)
			backend_free(&a->shared, p, backend_usable(p));
		freed |= p != NULL;
	}
	for (unsigned i = 0; !freed && i < COMMON_PIECES; i++) {
		p = atomic_exchange_explicit(&common[i], NULL, memory_order_acq_rel);
		if (p != NULL)
			(void)munmap(p, COMMON_PIECE);
		freed = p != NULL;
	}
	if (on_short.fn != NULL && !atomic_exchange_explicit(&is_short, true, memory_order_relaxed))
		on_short.fn(on_short.ctx);
	return freed;
}

static bool
common_reserve(void)
{
	for (unsigned i = 0; i < COMMON_PIECES; i++) {
		void *p;

		if (atomic_load_explicit(&common[i], memory_order_relaxed) != NULL)
			continue;
		p = mmap(NULL, COMMON_PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			-1, 0);
		if (p == MAP_FAILED)
			return false;
		atomic_store_explicit(&common[i], p, memory_order_release);
	}
	return true;
}

bool
arena_reserve(struct arena *a, size_t bytes)
{
	unsigned n = (unsigned)((bytes + RESERVE_BLOCK - 1) / RESERVE_BLOCK);
	bool full = common_reserve();

	if (a->region != NULL)
		return full;
	for (unsigned i = 0; i < n && i < RESERVE_BLOCKS; i++) {
		size_t usable;
		void *p;

		if (atomic_load_explicit(&a->reserve[i], memory_order_relaxed) != NULL)
			continue;
		p = backend_alloc(a, &a->shared, ALLOC_MIN, RESERVE_BLOCK, &usable);
		if (p == NULL)
			return false;
		arena_discard(p, RESERVE_BLOCK);
		atomic_store_explicit(&a->reserve[i], p, memory_order_release);
	}
	return full;
}

static void
reserve_drop(struct arena *a)
{
	for (unsigned i = 0; i < RESERVE_BLOCKS; i++) {
		void *p = atomic_exchange_explicit(&a->reserve[i], NULL, memory_order_acq_rel);

		if (p != NULL)
			backend_free(&a->shared, p, backend_usable(p));
	}
}

/* Destroys a cache and adds its byte count to the arena. Under registry_lock. */
static void
cache_close(struct arena *a, struct cache *c)
{
	int64_t bytes = atomic_load_explicit(&c->bytes, memory_order_relaxed);

	atomic_fetch_add_explicit(&a->shared.bytes, bytes, memory_order_relaxed);
	backend_cache_close(c);
	free(c);
}

static void
cache_unlink(struct arena *a, struct cache *c)
{
	struct cache **at = &a->caches;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
}

/*
 * Runs when a thread ends. A later destructor may allocate again; pthreads then calls this
 * function again.
 */
static void
thread_exit(void *slots)
{
	struct slot *s = slots;

	pthread_mutex_lock(&registry_lock);
	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		struct arena *a = registry[i];

		if (s[i].serial != 0 && a != NULL && a->serial == s[i].serial) {
			cache_unlink(a, s[i].cache);
			cache_close(a, s[i].cache);
		}
		s[i] = (struct slot){0};
	}
	pthread_mutex_unlock(&registry_lock);
}

static void
exit_key_create(void)
{
	exit_key_error = pthread_key_create(&exit_key, thread_exit);
}

/*
 * First call of a thread for this arena. Returns NULL if memory is short; the caller then uses the
 * shared cache.
 */
static __attribute__((noinline)) struct cache *
cache_open(struct arena *a)
{
	struct cache *c;

	pthread_once(&exit_once, exit_key_create);
	if (exit_key_error != 0 || pthread_setspecific(exit_key, thread_slots) != 0)
		return NULL;
	c = aligned_alloc(alignof(struct cache), sizeof(*c));
	if (c == NULL)
		return NULL;
	memset(c, 0, sizeof(*c));
	if (backend_cache_open(c) < 0) {
		free(c);
		return NULL;
	}
	pthread_mutex_lock(&registry_lock);
	c->next = a->caches;
	a->caches = c;
	pthread_mutex_unlock(&registry_lock);
	thread_slots[a->slot] = (struct slot){a->serial, c};
	return c;
}

static inline struct cache *
cache_of(struct arena *a)
{
	struct slot *s = &thread_slots[a->slot];
	struct cache *c;

	if (__builtin_expect(s->serial == a->serial, 1))
		return s->cache;
	c = cache_open(a);
	return c != NULL ? c : &a->shared;
}

static inline void
cache_count(struct arena *a, struct cache *c, int64_t bytes)
{
	if (__builtin_expect(c == &a->shared, 0)) {
		atomic_fetch_add_explicit(&c->bytes, bytes, memory_order_relaxed);
		return;
	}
	int64_t now = atomic_load_explicit(&c->bytes, memory_order_relaxed);
	atomic_store_explicit(&c->bytes, now + bytes, memory_order_relaxed);
}

static int
registry_add(struct arena *a)
{
	int err = -ENOMEM;

	pthread_mutex_lock(&registry_lock);
	for (unsigned i = 0; i < ARENAS_MAX; i++) {
		if (registry[i] != NULL)
			continue;
		registry[i] = a;
		a->slot = i;
		a->serial = ++last_serial;
		err = 0;
		break;
	}
	pthread_mutex_unlock(&registry_lock);
	return err;
}

int
arena_create(const char *name, struct arena **out)
{
	struct arena *a = aligned_alloc(alignof(struct arena), sizeof(*a));

	if (a == NULL)
		return -ENOMEM;
	memset(a, 0, sizeof(*a));
	a->name = name;
	if (backend_open(a) < 0)
		goto fail;
	if (registry_add(a) < 0)
		goto fail_open;
	*out = a;
	return 0;

fail_open:
	backend_close(a);
fail:
	free(a);
	return -ENOMEM;
}

int
arena_create_in(const char *name, struct region *r, struct arena **out)
{
	struct arena *a = aligned_alloc(alignof(struct arena), sizeof(*a));

	if (a == NULL)
		return -ENOMEM;
	memset(a, 0, sizeof(*a));
	a->name = name;
	a->region = r;
	*out = a;
	return 0;
}

struct region *
arena_region(const struct arena *a)
{
	return a->region;
}

void
arena_destroy(struct arena *a)
{
	if (a == NULL)
		return;
	assert(arena_bytes(a) == 0);
	if (a->region != NULL) {
		free(a);
		return;
	}
	reserve_drop(a);
	pthread_mutex_lock(&registry_lock);
	registry[a->slot] = NULL;
	while (a->caches != NULL) {
		struct cache *c = a->caches;

		a->caches = c->next;
		cache_close(a, c);
	}
	pthread_mutex_unlock(&registry_lock);
	backend_close(a);
	free(a);
}

/* ---- arenas in a region ---- */

static void *
in_region_alloc(struct arena *a, size_t align, size_t size)
{
	void *p = region_alloc(a->region, align, size);

	if (p != NULL)
		atomic_fetch_add_explicit(&a->shared.bytes, (int64_t)region_usable(a->region, p),
			memory_order_relaxed);
	return p;
}

static void
in_region_free(struct arena *a, void *p)
{
	in_use_check(p, region_usable(a->region, p));
	atomic_fetch_sub_explicit(
		&a->shared.bytes, (int64_t)region_usable(a->region, p), memory_order_relaxed);
	region_free(a->region, p);
}

static void *
in_region_realloc(struct arena *a, void *p, size_t size)
{
	size_t old = region_usable(a->region, p);
	void *q = size <= old ? p : in_region_alloc(a, ALLOC_MIN, size);

	if (q == NULL || q == p)
		return q;
	memcpy(q, p, old);
	in_region_free(a, p);
	return q;
}

void *
arena_map(struct arena *a, size_t bytes)
{
	void *p;

	if (a->region != NULL)
		return region_alloc_pages(a->region, bytes);
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		-1, 0);
	return p != MAP_FAILED ? p : NULL;
}

void
arena_unmap(struct arena *a, void *p, size_t bytes)
{
	if (a->region != NULL)
		region_free(a->region, p);
	else
		(void)munmap(p, bytes);
}

void *
arena_alloc(struct arena *a, size_t size)
{
	return arena_alloc_aligned(a, ALLOC_MIN, size);
}

void *
arena_calloc(struct arena *a, size_t size)
{
	struct cache *c;
	size_t usable;
	void *p;

	if (size < ALLOC_MIN)
		size = ALLOC_MIN;
	if (__builtin_expect(a->region != NULL, 0)) {
		p = in_region_alloc(a, ALLOC_MIN, size);
		return p != NULL ? memset(p, 0, size) : NULL;
	}
	c = cache_of(a);
	p = backend_calloc(a, c, size, &usable);
	while (__builtin_expect(p == NULL, 0) && reserve_use(a))
		p = backend_calloc(a, c, size, &usable);
	cache_count(a, c, (int64_t)usable);
	return p;
}

/*
 * Large blocks begin at a page: jemalloc would place an unaligned block within an extra page. The
 * pages are mapped by one call.
 */
#define TOUCHED_PAGES 4u

void *
arena_calloc_touched(struct arena *a, size_t size)
{
	bool large = size >= TOUCHED_PAGES * ARENA_PAGE;
	void *p = large ? arena_alloc_aligned(a, ARENA_PAGE, size) : arena_alloc(a, size);

	if (p != NULL && large)
		arena_populate(p, size);
	if (p != NULL)
		memset(p, 0, size);
	return p;
}

void *
arena_alloc_aligned(struct arena *a, size_t align, size_t size)
{
	struct cache *c;
	size_t usable;
	void *p;

	if (align < ALLOC_MIN)
		align = ALLOC_MIN;
	if (size > SIZE_MAX / 2)
		return NULL;
	size = size == 0 ? align : (size + align - 1) & ~(align - 1);
	if (__builtin_expect(a->region != NULL, 0))
		return in_region_alloc(a, align, size);
	c = cache_of(a);
	p = backend_alloc(a, c, align, size, &usable);
	while (__builtin_expect(p == NULL, 0) && reserve_use(a))
		p = backend_alloc(a, c, align, size, &usable);
	cache_count(a, c, (int64_t)usable);
	return p;
}

void *
arena_realloc(struct arena *a, void *p, size_t size)
{
	struct cache *c;
	size_t old;
	void *q;

	if (p == NULL)
		return arena_alloc(a, size);
	if (size < ALLOC_MIN)
		size = ALLOC_MIN;
	if (__builtin_expect(a->region != NULL, 0))
		return in_region_realloc(a, p, size);
	c = cache_of(a);
	old = backend_usable(p);
	in_use_check(p, old);
	q = backend_realloc(a, c, p, size);
	while (__builtin_expect(q == NULL, 0) && reserve_use(a))
		q = backend_realloc(a, c, p, size);
	if (q != NULL)
		cache_count(a, c, (int64_t)backend_usable(q) - (int64_t)old);
	return q;
}

void
arena_free(struct arena *a, void *p)
{
	struct cache *c;
	size_t usable;

	if (p == NULL)
		return;
	if (__builtin_expect(a->region != NULL, 0)) {
		in_region_free(a, p);
		return;
	}
	c = cache_of(a);
	usable = backend_usable(p);
	in_use_check(p, usable);
	backend_free(c, p, usable);
	cache_count(a, c, -(int64_t)usable);
}

/* For the whole pages inside a block. Errors are harmless: the pages stay as they are. */
static void
pages_advise(void *p, size_t size, int advice)
{
	uintptr_t from = ((uintptr_t)p + ARENA_PAGE - 1) & ~(uintptr_t)(ARENA_PAGE - 1);
	uintptr_t end = ((uintptr_t)p + size) & ~(uintptr_t)(ARENA_PAGE - 1);

	if (from < end)
		(void)madvise((void *)from, end - from, advice);
}

void
arena_discard(void *p, size_t size)
{
	pages_advise(p, size, MADV_DONTNEED);
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; an older kernel refuses */
#endif

void
arena_populate(void *p, size_t size)
{
	pages_advise(p, size, MADV_POPULATE_WRITE);
}

void
arena_release(struct arena *a, void *p)
{
	if (p != NULL && a->region == NULL)
		arena_discard(p, backend_usable(p));
	arena_free(a, p);
}

void
arena_trim(struct arena *a)
{
	if (a->region == NULL)
		backend_trim(a, cache_of(a));
}

const char *
arena_name(const struct arena *a)
{
	return a->name;
}

size_t
arena_bytes(const struct arena *a)
{
	int64_t sum;

	pthread_mutex_lock(&registry_lock);
	sum = atomic_load_explicit(&a->shared.bytes, memory_order_relaxed);
	for (const struct cache *c = a->caches; c != NULL; c = c->next)
		sum += atomic_load_explicit(&c->bytes, memory_order_relaxed);
	pthread_mutex_unlock(&registry_lock);
	/* the sum may see a concurrent free before its allocation */
	return sum > 0 ? (size_t)sum : 0;
}
