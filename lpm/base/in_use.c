/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A hash table by page of the addresses in use. Almost no page has one, so that a free reads one
 * word for each page of its block, without the lock. The linker sends free() and realloc() of the
 * objects of Keel here (lpm/meson.build); arena.c calls in_use_check() itself.
 */
#include "lpm/base/in_use.h"

#ifdef KEEL_IN_USE

#include <execinfo.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE_BITS 12
#define BUCKETS (1u << 16)
#define USES_MAX (1u << 18) /* more are not watched */

struct use {
	const void *p, *owner;
	uint32_t next; /* of the bucket, or of the unused; 0: the last */
	uint8_t as; /* enum in_use_as */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct use use[USES_MAX]; /* use[0] is none */
static uint32_t unused, touched = 1; /* from `touched` on, no entry was ever used */
static _Atomic uint32_t bucket[BUCKETS];

static _Atomic uint32_t *
bucket_of(uintptr_t page)
{
	return &bucket[(page ^ page >> 16) % BUCKETS];
}

static uintptr_t
page_of(const void *p)
{
	return (uintptr_t)p >> PAGE_BITS;
}

void
in_use_begin(const void *p, enum in_use_as as, const void *owner)
{
	_Atomic uint32_t *head = bucket_of(page_of(p));
	uint32_t i;

	pthread_mutex_lock(&lock);
	i = unused != 0 ? unused : touched < USES_MAX ? touched++ : 0;
	if (i != 0) {
		unused = i == unused ? use[i].next : unused;
		use[i] = (struct use){.p = p,
			.owner = owner,
			.next = atomic_load_explicit(head, memory_order_relaxed),
			.as = (uint8_t)as};
		atomic_store_explicit(head, i, memory_order_relaxed);
	}
	pthread_mutex_unlock(&lock);
}

/* Ends the use that `*at` has as its next, the first of its bucket if `before` is 0. */
static void
use_end(_Atomic uint32_t *head, uint32_t before, uint32_t i)
{
	if (before != 0)
		use[before].next = use[i].next;
	else
		atomic_store_explicit(head, use[i].next, memory_order_relaxed);
	use[i] = (struct use){.next = unused};
	unused = i;
}

void
in_use_end(const void *p, enum in_use_as as, const void *owner)
{
	_Atomic uint32_t *head = bucket_of(page_of(p));
	uint32_t before = 0;

	pthread_mutex_lock(&lock);
	for (uint32_t i = atomic_load_explicit(head, memory_order_relaxed); i != 0;
		before = i, i = use[i].next) {
		if (use[i].p == p && use[i].as == as && use[i].owner == owner) {
			use_end(head, before, i);
			break;
		}
	}
	pthread_mutex_unlock(&lock);
}

void
in_use_end_all(const void *owner)
{
	pthread_mutex_lock(&lock);
	for (uint32_t b = 0; b < BUCKETS; b++) {
		uint32_t before = 0, next;

		for (uint32_t i = atomic_load_explicit(&bucket[b], memory_order_relaxed); i != 0;
			i = next) {
			next = use[i].next;
			if (use[i].owner == owner)
				use_end(&bucket[b], before, i);
			else
				before = i;
		}
	}
	pthread_mutex_unlock(&lock);
}

#ifdef __SANITIZE_ADDRESS__
void __sanitizer_print_stack_trace(void);
#endif

static void
stop(const struct use *u, const void *block, size_t size)
{
	static const char *const what[] = {[IN_USE_TIMER] = "an armed timer",
		[IN_USE_WATCH] = "a watch",
		[IN_USE_NODE] = "a node of a list",
		[IN_USE_MESSAGE] = "the argument of a message",
		[IN_USE_ENTRY] = "an entry of a ring"};
	void *frame[32];

	fprintf(stderr, "in use: a freed block of %zu octets has %s, at octet %zu\n", size,
		what[u->as], (size_t)((uintptr_t)u->p - (uintptr_t)block));
#ifdef __SANITIZE_ADDRESS__
	__sanitizer_print_stack_trace();
#endif
	backtrace_symbols_fd(frame, backtrace(frame, 32), 2);
	abort();
}

void
in_use_check(const void *block, size_t size)
{
	uintptr_t from = (uintptr_t)block, end = from + size;

	if (size == 0)
		return;
	for (uintptr_t page = from >> PAGE_BITS; page <= (end - 1) >> PAGE_BITS; page++) {
		_Atomic uint32_t *head = bucket_of(page);

		if (atomic_load_explicit(head, memory_order_relaxed) == 0)
			continue;
		pthread_mutex_lock(&lock);
		for (uint32_t i = atomic_load_explicit(head, memory_order_relaxed); i != 0;
			i = use[i].next) {
			if ((uintptr_t)use[i].p >= from && (uintptr_t)use[i].p < end)
				stop(&use[i], block, size);
		}
		pthread_mutex_unlock(&lock);
	}
}

/* ---- free() and realloc() of the objects of Keel, by the linker ---- */

void __real_free(void *p);
void *__real_realloc(void *p, size_t size);
void __wrap_free(void *p);
void *__wrap_realloc(void *p, size_t size);

void
__wrap_free(void *p)
{
	if (p != NULL)
		in_use_check(p, malloc_usable_size(p));
	__real_free(p);
}

/* A block that stays where it is may be in use; only the allocator knows, so none may. */
void *
__wrap_realloc(void *p, size_t size)
{
	if (p != NULL)
		in_use_check(p, malloc_usable_size(p));
	return __real_realloc(p, size);
}

#endif
