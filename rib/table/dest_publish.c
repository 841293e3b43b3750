/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/dest_impl.h"

#include <errno.h>

struct path_set *
path_set_alloc(struct dest_table *t, unsigned count)
{
	struct path_set *s = NULL;

	if (count <= PATHS_PACKED_MAX) {
		s = t->draft[count];
		t->draft[count] = NULL;
	}
	if (s == NULL)
		s = arena_alloc(t->arena, set_size(count));
	if (s != NULL)
		*s = (struct path_set){.count = (uint16_t)count};
	return s;
}

static void
draft_put(struct dest_table *t, struct path_set *s)
{
	if (s->count <= PATHS_PACKED_MAX && t->draft[s->count] == NULL)
		t->draft[s->count] = s;
	else
		arena_free(t->arena, s);
}

/* A block whose address fits into a word, or NULL. */
static void *
block_alloc(struct dest_table *t, size_t size)
{
	void *p = arena_alloc(t->arena, size);

	if (p == NULL || ((uintptr_t)p & ~BLOCK_MASK) == 0)
		return p;
	arena_free(t->arena, p);
	return NULL;
}

/* The INLINE or PACKED word of a front of at most PATHS_PACKED_MAX paths; 0 without memory. */
static uint64_t
front_word(struct dest_table *t, const struct front *f)
{
	uint64_t word = front_inline(f);
	bool changed = front_changed(f), labelled = front_labelled(f, f->count);
	struct packed_set *to;
	uint32_t *received, *label;

	if (word != 0)
		return word;
	to = block_alloc(t, packed_size(f->count, changed, labelled));
	if (to == NULL)
		return 0;
	word = PACKED | (uint64_t)f->count << COUNT_AT | (uint64_t)f->eligible << ELIGIBLE_AT |
	       (uint64_t)f->multipath << MULTIPATH_AT | (uintptr_t)to | (changed ? CHANGED : 0) |
	       (labelled ? LABELLED : 0);
	to->refs = 0;
	for (unsigned i = 0; i < f->count; i++)
		packed_copy(&to->path[i], &f->path[i]);
	received = packed_received(to, word);
	if (received != NULL)
		memcpy(received, f->received, f->count * sizeof(*received));
	label = packed_labels(to, word);
	if (label != NULL)
		memcpy(label, f->label, f->count * sizeof(*label));
	return word;
}

/* ---- wide sets ---- */

/*
 * Room for at least `count` entries and some more, up to the end of jemalloc's size class. NULL
 * without memory.
 */
static struct path_tail *
tail_alloc(struct dest_table *t, unsigned count, bool changed)
{
	size_t bytes = tail_bytes(count + 1, changed), step = 16;
	struct path_tail *tail;

	while (step * 8 < bytes)
		step *= 2;
	bytes = (bytes + step - 1) / step * step;
	count = (unsigned)((bytes - sizeof(*tail)) / (tail_bytes(1, changed) - sizeof(*tail)));
	if (count > TAIL_MAX)
		return NULL;
	tail = arena_alloc(t->arena, tail_bytes(count, changed));
	if (tail != NULL)
		*tail = (struct path_tail){.size = (uint16_t)count, .changed = changed};
	return tail;
}

/* Writes entry `i` of the tail, which no reader sees yet. Reads nothing of the tail. */
static void
tail_init(struct wide_set *w, unsigned i, const struct packed_path *p, uint32_t received)
{
	struct dest_tail_peer *peer = &tail_peers_of(w->tail, w->tail_size)[i];

	peer->peer = p->peer;
	atomic_init(&peer->epoch, atomic_load_explicit(&p->epoch, memory_order_relaxed));
	atomic_init(&w->tail->body[i], body_of(p->set_flags, p->time_s));
	if (w->changed)
		tail_received(w->tail)[i] = received;
}

/* Stores a path of the entry's peer in entry `i`, which readers see. */
static void
tail_fill(struct path_tail *t, unsigned i, uint64_t body, uint16_t epoch)
{
	atomic_store_explicit(&tail_peers(t)[i].epoch, epoch, memory_order_relaxed);
	/* release: pairs with the load in tail_path */
	atomic_store_explicit(&t->body[i], body, memory_order_release);
}

static bool
tail_is_hole(const struct path_tail *t, unsigned i)
{
	return atomic_load_explicit(&t->body[i], memory_order_relaxed) == 0;
}

/* Copies `count` entries without holes and entry `removed`; returns the number of copies. */
static unsigned
tail_copy(struct path_tail *to, struct path_tail *from, unsigned count, unsigned removed)
{
	unsigned n = 0;

	for (unsigned i = 0; i < count; i++) {
		uint64_t body = atomic_load_explicit(&from->body[i], memory_order_relaxed);

		if (body == 0 || i == removed)
			continue;
		atomic_init(&to->body[n], body);
		tail_peers(to)[n].peer = tail_peers(from)[i].peer;
		atomic_init(&tail_peers(to)[n].epoch,
			atomic_load_explicit(&tail_peers(from)[i].epoch, memory_order_relaxed));
		if (to->changed)
			tail_received(to)[n] = tail_received(from)[i];
		n++;
	}
	return n;
}

static uint64_t
peer_bit(unsigned peer)
{
	return 1ull << peer % 64;
}

/* A wide set with this front, and no tail yet; NULL without memory. */
static struct wide_set *
wide_alloc(struct dest_table *t, const struct front *f, bool changed)
{
	struct wide_set *w = block_alloc(t, wide_bytes(changed));

	if (w == NULL)
		return NULL;
	*w = (struct wide_set){.changed = changed,
		.count = (uint8_t)f->count,
		.eligible = (uint8_t)f->eligible,
		.multipath = (uint8_t)f->multipath};
	for (unsigned i = 0; i < f->count; i++)
		packed_copy(&w->path[i], &f->path[i]);
	if (changed)
		memcpy(wide_received(w), f->received, f->count * sizeof(uint32_t));
	return w;
}

static void
wide_note(struct wide_set *w, const struct packed_path *p)
{
	w->peers |= peer_bit(p->peer);
	w->med |= (p->set_flags & PACKED_MED) != 0;
}

static uint64_t
wide_word(const struct wide_set *w, unsigned entries)
{
	return WIDE | (uintptr_t)w | (uint64_t)entries << COUNT_AT;
}

/* True if all paths of the set are common, without labels, and in the order of the classes. */
static bool
set_is_plain(const struct path_set *s, bool *changed)
{
	for (unsigned i = 0; i < s->count; i++) {
		uint32_t flags = path_pack(&s->path[i], changed);

		if (flags == 0 || packed_eligible(flags) != (i < s->eligible) ||
			path_label(&s->path[i]) != PATH_LABEL_NONE)
			return false;
	}
	return true;
}

/* The WIDE word of a set; 0 if the set stays as is. */
static uint64_t
set_widen(struct dest_table *t, const struct path_set *s)
{
	struct front f = {
		.eligible = at_most(s->eligible, PATHS_PACKED_MAX), .multipath = s->multipath};
	unsigned behind = s->count - PATHS_PACKED_MAX;
	bool changed = false;
	struct wide_set *w;

	if (s->multipath >= PATHS_PACKED_MAX || !set_is_plain(s, &changed))
		return 0;
	for (; f.count < PATHS_PACKED_MAX; f.count++)
		(void)front_put(&f, f.count, &s->path[f.count]);
	w = wide_alloc(t, &f, changed);
	if (w == NULL)
		return 0;
	w->tail = tail_alloc(t, behind, changed);
	if (w->tail == NULL) {
		arena_free(t->arena, w);
		return 0;
	}
	w->tail_size = w->tail->size;
	for (unsigned i = 0; i < behind; i++) {
		const struct rib_path *p = &s->path[PATHS_PACKED_MAX + i];

		(void)front_put(&f, 0, p);
		tail_init(w, i, &f.path[0], p->received.v);
		wide_note(w, &f.path[0]);
	}
	return wide_word(w, behind);
}

/* The INLINE or PACKED word of a set; 0 if the set stays as is (an uncommon path, or no memory). */
static uint64_t
set_pack(struct dest_table *t, const struct path_set *s)
{
	struct front f; /* front_put() sets the paths */

	f.count = s->count;
	f.eligible = s->eligible;
	f.multipath = s->multipath;
	f.labelled = false;
	for (unsigned i = 0; i < s->count; i++)
		if (!front_put(&f, i, &s->path[i]))
			return 0;
	return front_word(t, &f);
}

/* Encodes a set as a word. The caller's set is reused, or becomes the published set. */
static uint64_t
set_keep(struct dest_table *t, struct path_set *s)
{
	uint64_t word = s->count > PATHS_PACKED_MAX ? set_widen(t, s) : set_pack(t, s);

	if (word != 0)
		draft_put(t, s);
	else
		word = (uintptr_t)s;
	bytes_add(t, word_size(word));
	return word;
}

static void
word_hold(uint64_t word)
{
	if ((word & (LINK | PACKED)) == PACKED)
		((struct packed_set *)word_block(word))->refs++;
}

/* Drops a reference; the last reference retires the set. */
static void
word_drop(struct dest_table *t, uint64_t word)
{
	if (word & (LINK | INLINE))
		return;
	if ((word & PACKED) && --((struct packed_set *)word_block(word))->refs > 0)
		return;
	bytes_add(t, -word_size(word));
	if (word_is_wide(word))
		deferred_free_push(&t->sets, word_wide(word)->tail);
	deferred_free_push(&t->sets, word_block(word));
}

/* Publishes `word`; 0: links. */
static void
replace(struct dest_table *t, uint32_t id, uint64_t word, uint32_t time_s)
{
	struct destination *d = dest_at(t, id);
	uint64_t old = word_of(d);
	bool had = (old & LINK) == 0;

	if (word != 0) {
		word_hold(word);
		count_add(&t->path_count, word_count(word));
		atomic_store_explicit(&d->time_s, time_s, memory_order_relaxed);
		word_set(d, word);
	} else if (d->fresh) {
		tombstone_link(t, id, ID_NIL, t->oldest);
	} else {
		tombstone_link(t, id, t->newest, ID_NIL);
		count_add(&t->tombstones, 1);
	}
	count_add(&t->count, (word != 0) - (uint32_t)had);
	if (had) {
		count_add(&t->path_count, -(uint32_t)word_count(old));
		word_drop(t, old);
	}
}

bool
dest_stamp(struct dest_table *t, struct dest_id id, unsigned index, uint16_t epoch)
{
	struct destination *d = dest_at(t, id.v);
	uint64_t word = word_of(d);
	struct rib_path *p;

	/* relaxed: a stamp does not order anything */
	if (word & INLINE) {
		word_set(d, (word & ~INLINE_EPOCH_MASK) | (uint64_t)epoch << INLINE_EPOCH_AT);
	} else if (word & PACKED) {
		struct packed_set *s = word_block(word);

		if (s->refs > 1)
			return false;
		atomic_store_explicit(&s->path[index].epoch, epoch, memory_order_relaxed);
	} else if (word & WIDE) {
		struct wide_set *w = word_wide(word);

		atomic_store_explicit(
			index < PATHS_PACKED_MAX
				? &w->path[index].epoch
				: &tail_peers(w->tail)[index - PATHS_PACKED_MAX].epoch,
			epoch, memory_order_relaxed);
	} else {
		p = &((struct path_set *)word_block(word))->path[index];
		atomic_store_explicit(&p->epoch, epoch, memory_order_relaxed);
	}
	return true;
}

static void
fib_state_set(struct destination *d, enum dest_fib state)
{
	/* release: pairs with the load in peek; the sequence is stored first */
	atomic_store_explicit(
		&d->used, (uint8_t)(USED | (unsigned)state << FIB_AT), memory_order_release);
}

/* Takes destination `id` out of the list of tombstones. */
static void
tombstone_revive(struct dest_table *t, uint32_t id)
{
	struct destination *d = dest_at(t, id);

	if (id == t->newborn)
		t->newborn = ID_NIL;
	else
		tombstone_unlink(t, id);
	if (!d->fresh)
		count_add(&t->tombstones, -1u);
	if (d->len >= t->tight_from)
		fib_state_set(d, DEST_ASKED);
}

/* Takes destination `id` out of the list of tombstones if it is in the list. */
static inline void
revive(struct dest_table *t, uint32_t id)
{
	if (word_of(dest_at(t, id)) & LINK)
		tombstone_revive(t, id);
}

static void
sequence_set(struct destination *d, uint64_t sequence)
{
	d->fresh = 0;
	d->sequence_high = (uint16_t)(sequence >> 32 & 0x7fff);
	/* before the word: a reader of the new paths sees a sequence at least as new */
	atomic_store_explicit(&d->sequence, (uint32_t)sequence, memory_order_relaxed);
}

/* ---- edits of one path ---- */

struct dest_tail
dest_tail_of(const struct dest_table *t, struct dest_id id)
{
	uint64_t word = word_of(dest_at(t, id.v));
	struct wide_set *w;

	if (!word_is_wide(word))
		return (struct dest_tail){.entries = 0};
	w = word_wide(word);
	tail_prefetch(word);
	return (struct dest_tail){.peers = tail_peers_of(w->tail, w->tail_size),
		.peer_mask = w->peers,
		.entries = wide_entries(word),
		.paths = wide_entries(word) - w->holes,
		.med = w->med,
		.front_key = &w->key};
}

bool
dest_tail_path(const struct dest_table *t, struct dest_id id, unsigned entry, struct rib_path *out)
{
	return tail_path(word_wide(word_of(dest_at(t, id.v)))->tail, entry, out);
}

/* The entry of the peer, `hole` or not; TAIL_MAX: none. */
static unsigned
tail_find(uint64_t word, uint16_t peer, bool hole)
{
	const struct wide_set *w = word_wide(word);
	const struct dest_tail_peer *p = tail_peers_of(w->tail, w->tail_size);
	unsigned n = wide_entries(word);

	if (!(w->peers & peer_bit(peer)))
		return TAIL_MAX;
	for (unsigned i = 0; i < n; i++)
		if (p[i].peer == peer && tail_is_hole(w->tail, i) == hole)
			return i;
	return TAIL_MAX;
}

unsigned
dest_tail_find(
	const struct dest_table *t, struct dest_id id, struct peer_id peer, struct rib_path *out)
{
	uint64_t word = word_of(dest_at(t, id.v));
	unsigned i = word_is_wide(word) ? tail_find(word, peer.v, false) : TAIL_MAX;

	if (i == TAIL_MAX)
		return DEST_NO_PATH;
	(void)tail_path(word_wide(word)->tail, i, out);
	return PATHS_PACKED_MAX + i;
}

/* The counts of the next front. */
static void
front_settle(struct front *f, unsigned multipath)
{
	f->multipath = multipath;
	for (f->eligible = 0; f->eligible < f->count; f->eligible++)
		if (!packed_eligible(f->path[f->eligible].set_flags))
			break;
}

/* Where the next path of the tail goes, and what leaves the tail. */
struct tail_edit {
	struct wide_set *old; /* NULL: no tail yet */
	unsigned entries; /* of the old tail */
	unsigned removed; /* entry; DEST_NO_PATH: none */
	const struct packed_path *added; /* NULL: none */
	uint32_t received; /* of `added` */
};

/* Without a copy: the added path takes the entry that the peer has or had. */
static void
tail_refill(const struct dest_table *t, uint64_t word, struct tail_edit *e, struct dest_change *c)
{
	unsigned entry = TAIL_MAX;

	/* two stores are not atomic for readers */
	if (e->added == NULL || e->old == NULL || e->old->changed)
		return;
	if (e->removed != DEST_NO_PATH &&
		tail_peers(e->old->tail)[e->removed].peer == e->added->peer) {
		entry = e->removed;
		e->removed = DEST_NO_PATH;
	} else {
		entry = tail_find(word, e->added->peer, true);
		c->holes -= entry != TAIL_MAX;
	}
	if (entry == TAIL_MAX)
		return;
	c->fill = entry;
	c->body = body_of(e->added->set_flags, e->added->time_s);
	c->epoch = atomic_load_explicit(&e->added->epoch, memory_order_relaxed);
	wide_note(e->old, e->added);
	e->added = NULL;
}

/*
 * The next wide set: the old set if the front stays and the tail has room, else a new set. 0,
 * -ENOMEM.
 */
static int
wide_edit(struct dest_table *t, struct front *f, uint64_t word, bool front_stays, bool changed,
	struct tail_edit *e, struct dest_change *c)
{
	struct path_tail *tail = e->old != NULL ? e->old->tail : NULL, *grown = NULL;
	struct wide_set *w = e->old;
	unsigned entries = e->entries;

	if (e->added != NULL && (tail == NULL || entries == e->old->tail_size)) {
		grown = tail_alloc(t, entries - c->holes + 1, changed);
		if (grown == NULL)
			return -ENOMEM;
	}
	if (!front_stays || grown != NULL || w == NULL) {
		struct front same;

		if (front_stays)
			front_load(&same, word, 0);
		w = wide_alloc(t, front_stays ? &same : f, changed);
		if (w == NULL) {
			arena_free(t->arena, grown);
			return -ENOMEM;
		}
		w->peers = e->old != NULL ? e->old->peers : 0;
		w->med = e->old != NULL && e->old->med;
		w->tail = tail;
		w->tail_size = tail != NULL ? e->old->tail_size : 0;
	}
	if (grown != NULL) {
		entries = tail != NULL ? tail_copy(grown, tail, entries, e->removed) : 0;
		w->tail = grown;
		w->tail_size = grown->size;
		c->holes = 0;
		e->removed = DEST_NO_PATH;
	}
	if (e->added != NULL) {
		tail_init(w, entries++, e->added, e->received);
		wide_note(w, e->added);
	}
	c->hole = e->removed;
	c->holes += e->removed != DEST_NO_PATH;
	c->word = wide_word(w, entries);
	return 0;
}

int
dest_edit_begin(
	struct dest_table *t, struct dest_id id, const struct dest_edit *e, struct dest_change *c)
{
	const struct destination *d = dest_at(t, id.v);
	uint64_t word = word_of(d);
	struct tail_edit tail = {.removed = DEST_NO_PATH};
	bool front_stays =
		word_is_wide(word) && e->remove >= PATHS_PACKED_MAX && e->insert > PATHS_PACKED_MAX;
	uint32_t time_s = atomic_load_explicit(&d->time_s, memory_order_relaxed);
	unsigned paths = 0;
	bool changed;
	struct front f;

	*c = (struct dest_change){.fill = DEST_NO_PATH, .hole = DEST_NO_PATH};
	if ((word & KIND_BITS) == 0)
		return -ENOTSUP;
	f.count = f.eligible = f.multipath = 0;
	f.labelled = false;
	if (!front_stays)
		front_load(&f, word, time_s);
	if (word_is_wide(word)) {
		tail.old = word_wide(word);
		tail.entries = wide_entries(word);
		c->holes = tail.old->holes;
		paths = tail.entries - c->holes;
	}
	if (e->remove < PATHS_PACKED_MAX) {
		front_remove(&f, e->remove);
	} else if (e->remove != DEST_NO_PATH) {
		tail.removed = e->remove - PATHS_PACKED_MAX;
		paths--;
	}
	if (e->insert <= PATHS_PACKED_MAX)
		front_open(&f, e->insert);
	if (e->insert != DEST_NO_PATH &&
		!front_put(&f, e->insert == DEST_BEHIND ? f.count : e->insert, &e->path))
		return -ENOTSUP;
	if (e->insert == DEST_BEHIND || f.count > PATHS_PACKED_MAX) {
		f.count = at_most(f.count, PATHS_PACKED_MAX);
		tail.added = &f.path[f.count];
		tail.received = f.received[f.count];
		paths++;
	}
	if (!front_stays)
		front_settle(&f, e->multipath);
	c->paths = (e->insert != DEST_NO_PATH) - (e->remove != DEST_NO_PATH);
	if (paths == 0) {
		if (front_stays)
			front_load(&f, word, time_s);
		c->time_s = f.path[0].time_s;
		c->word = f.count > 0 ? front_word(t, &f) : 0;
		return c->word != 0 ? 0 : f.count > 0 ? -ENOMEM : -ENOTSUP;
	}
	/* a wide set has no labels */
	if (front_labelled(&f, f.count + (tail.added != NULL)))
		return -ENOTSUP;
	changed = front_changed(&f) ||
		  (tail.added != NULL && tail.received != packed_kept(tail.added));
	if (f.multipath >= PATHS_PACKED_MAX || (tail.old != NULL && changed && !tail.old->changed))
		return -ENOTSUP;
	if (tail.old != NULL)
		changed = tail.old->changed;
	tail_refill(t, word, &tail, c);
	return wide_edit(t, &f, word, front_stays, changed, &tail, c);
}

/* Frees the set of `old` except parts in use by `now`. */
static void
set_replaced(struct dest_table *t, uint64_t old, uint64_t now)
{
	if (word_block(old) == word_block(now) && word_is_wide(old))
		return;
	if (!word_is_wide(old)) {
		word_drop(t, old);
		return;
	}
	bytes_add(t, -word_size(old));
	if (!word_is_wide(now) || word_wide(now)->tail != word_wide(old)->tail)
		deferred_free_push(&t->sets, word_wide(old)->tail);
	deferred_free_push(&t->sets, word_wide(old));
}

void
dest_edit_end(
	struct dest_table *t, struct dest_id id, const struct dest_change *c, uint64_t sequence)
{
	struct destination *d = dest_at(t, id.v);
	uint64_t old;

	revive(t, id.v);
	if (sequence != 0)
		sequence_set(d, sequence);
	old = word_of(d);
	/*
	 * a reader finds a path that moves twice or in the old place, never not at all; the path of
	 * the front counts (dest_peek_all)
	 */
	if (c->fill != DEST_NO_PATH)
		tail_fill(word_wide(c->word)->tail, c->fill, c->body, c->epoch);
	if (c->word != old) {
		word_hold(c->word);
		if (!word_is_wide(old) || word_block(c->word) != word_block(old))
			bytes_add(t, word_size(c->word));
		atomic_store_explicit(&d->time_s, c->time_s, memory_order_relaxed);
		word_set(d, c->word);
	}
	if (c->hole != DEST_NO_PATH)
		/* relaxed: after the word; no reader misses the path (dest_peek_all) */
		atomic_store_explicit(
			&word_wide(c->word)->tail->body[c->hole], 0, memory_order_release);
	if (word_is_wide(c->word))
		word_wide(c->word)->holes = c->holes;
	count_add(&t->path_count, (uint32_t)c->paths);
	count_add(&t->count, (old & LINK) != 0);
	if (c->word != old && !(old & LINK))
		set_replaced(t, old, c->word);
}

void
dest_publish(struct dest_table *t, struct dest_id id, struct path_set *paths, uint64_t sequence)
{
	uint32_t time_s = paths != NULL ? paths->path[0].time_s : 0;

	revive(t, id.v);
	if (sequence != 0)
		sequence_set(dest_at(t, id.v), sequence);
	replace(t, id.v, paths != NULL ? set_keep(t, paths) : 0, time_s);
}

void
dest_fib_set(struct dest_table *t, struct dest_id id, enum dest_fib state, uint64_t sequence)
{
	struct destination *d = dest_at(t, id.v);

	if (sequence != 0)
		sequence_set(d, sequence);
	fib_state_set(d, state);
}

enum dest_fib
dest_fib_get(const struct dest_table *t, struct dest_id id)
{
	return (enum dest_fib)(
		atomic_load_explicit(&dest_at(t, id.v)->used, memory_order_relaxed) >> FIB_AT);
}

struct dest_ref
dest_ref_take(struct dest_table *t, struct dest_id id)
{
	const struct destination *d = dest_at(t, id.v);
	uint64_t word = word_of(d);
	uint32_t time_s = 0;

	if (word & LINK)
		return (struct dest_ref){.word = LINK};
	/* a set without a reference count has a single owner */
	if (!(word & (INLINE | PACKED))) /* also WIDE */
		return (struct dest_ref){0};
	if (word & INLINE)
		time_s = atomic_load_explicit(&d->time_s, memory_order_relaxed);
	word_hold(word);
	return (struct dest_ref){word, time_s};
}

void
dest_ref_drop(struct dest_table *t, struct dest_ref *r)
{
	if (r->word != 0)
		word_drop(t, r->word);
	*r = (struct dest_ref){0};
}

bool
dest_ref_is(const struct dest_table *t, struct dest_id id, const struct dest_ref *r)
{
	const struct destination *d = dest_at(t, id.v);

	if (r->word == LINK)
		return word_of(d) & LINK;
	return r->word != 0 && word_of(d) == r->word &&
	       (!(r->word & INLINE) ||
		       atomic_load_explicit(&d->time_s, memory_order_relaxed) == r->time_s);
}

void
dest_publish_ref(
	struct dest_table *t, struct dest_id id, const struct dest_ref *r, uint64_t sequence)
{
	revive(t, id.v);
	if (sequence != 0)
		sequence_set(dest_at(t, id.v), sequence);
	replace(t, id.v, r->word == LINK ? 0 : r->word, r->time_s);
}
