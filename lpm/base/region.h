/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of two processes at an equal address: a memfd at a fixed place of the address space, so
 * pointers into the region are valid in both processes. The owner allocates blocks; the reader maps
 * the descriptor with region_map() and follows pointers.
 *
 * The lists of free blocks are private memory of the owner, except the links inside free small
 * blocks. The reader never reads the lists. Any thread of the owner may allocate and
 * free (one lock). Arenas use a region through arena_create_in() (lpm/base/arena.h).
 */
#pragma once

#include "lpm/base/base.h"

struct region;

/*
 * Places for regions, 128 GiB apart; a region has at most 64 GiB. Places 0 to 2 are free in ordinary
 * processes (vm.mmap_rnd_bits 28); libraries lie in place 3 of a process in twenty. All are application
 * memory under AddressSanitizer and ThreadSanitizer.
 */
#define REGION_PLACES 4u
#define REGION_PLACE_BYTES (UINT64_C(1) << 37)
#define REGION_BYTES_MAX (UINT64_C(1) << 36)
void *region_place(unsigned place);

/* A new memfd of `bytes` bytes that cannot be resized. Returns the descriptor, or -errno. */
int region_memfd(const char *name, size_t bytes);
/* True if `fd` is a memfd of `bytes` bytes as region_memfd() makes it: its owner cannot take pages away. */
bool region_is_memfd(int fd, size_t bytes);
/*
 * Makes the memfd read-only for all except mappings that exist: who gets the descriptor can neither
 * write nor map it writable. A region on it keeps its memory after region_free(). 0, -errno.
 */
int region_seal(int fd);
/*
 * Maps `fd` at `place`, and zeros that cannot be written behind, up to the end of the place: a reader
 * with a wrong index of 32 bits reads nothing else. The zeros have one page, but page tables of their own
 * where somebody reads. Returns 0, or -errno; -EEXIST: the place is in use, if only in part.
 * region_unmap() undoes it.
 */
int region_map(int fd, unsigned place, size_t bytes, bool writable);
void region_unmap(unsigned place);
/*
 * Maps `fd` for writing at the first place from `from` on that nothing uses: the system may have put a
 * library into a place. Returns the place, or -errno; -EEXIST: there is none.
 */
int region_map_free(int fd, unsigned from, size_t bytes);
/*
 * Maps the pages of a region at `place` that exist, so that a reader takes no page faults. Returns false
 * if the time ended before: the owner decides how many holes the file has.
 */
bool region_populate(int fd, unsigned place, uint64_t most_ns);

/* Maps a copy of `fd` for writing and becomes the owner. Returns 0, or -errno. */
int region_create(int fd, unsigned place, size_t bytes, struct region **out);
/* The memfd of the region, which belongs to the region, its place and its size: for a further reader. */
int region_file(const struct region *r, unsigned *place, size_t *bytes);
/*
 * Ends the sharing before the owner ends: the reader keeps the present content, and later writes of
 * the owner change private copies. Frees return no memory. For the destruction of the objects in the
 * region, while a single thread uses the region. Returns 0 or -errno.
 */
int region_detach(struct region *r);
/* Unmaps the region with all blocks. */
void region_destroy(struct region *r);

/* Returns a block with undefined content, or NULL. `align` is a power of two, at most 4096. */
void *region_alloc(struct region *r, size_t align, size_t size);
/*
 * Returns zeroed memory whose pages take no memory until they are written: aligned to 2 MiB if
 * `size` is at least 2 MiB, otherwise to 64 KiB. NULL: no room.
 */
void *region_alloc_pages(struct region *r, size_t size);
/* Usable bytes of a block. */
size_t region_usable(const struct region *r, const void *p);
/* Frees a block of either kind. The pages of a large block return to the system. */
void region_free(struct region *r, void *p);
