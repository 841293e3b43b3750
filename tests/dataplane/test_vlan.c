/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames with random tags: the list of tags that made a frame says which port takes the frame and which octets are left. The
 * frames of each port keep their order. Then the tags of frames to be sent.
 */
#include "wire_rig.h"

#define ROUNDS 20000
#define TAGS 3 /* at most, with the one that the device has removed */
#define FRAME 64
#define CHILDREN 6

static const struct vlan_key children[CHILDREN] = {
	{0, {10, 0}}, {0, {10, 7}}, {0, {20, 7}}, {1, {10, 0}}, {1, {30, 0}}, {0, {4094, 4094}}};
#define FIRST_CHILD 8 /* number as a port */

struct made {
	uint16_t id[TAGS];
	unsigned count;
	bool stripped; /* the first tag is beside the frame */
	uint8_t rest[FRAME]; /* behind the addresses and the tags */
};

/* The child of a frame, or CHILDREN; *gone: the number of tags of the child. By the definition, not by octets. */
static unsigned
expected(const struct made *f, uint16_t parent, unsigned *gone)
{
	for (unsigned tags = 2; tags > 0; tags--)
		for (unsigned i = 0; i < CHILDREN && f->count >= tags; i++) {
			const struct vlan_key *c = &children[i];

			*gone = tags;
			if (c->parent == parent && c->vlan.outer == f->id[0] &&
				(tags == 2) == (c->vlan.inner != 0) &&
				(tags == 1 || c->vlan.inner == f->id[1]))
				return i;
		}
	return CHILDREN;
}

static void
put_tag(uint8_t *at, uint16_t id, uint64_t *seed)
{
	put16(at, lab_below(seed, 2) != 0 ? 0x8100 : 0x88a8);
	put16(at + 2, id | (unsigned)lab_below(seed, 8) << 13);
}

static struct rte_mbuf *
frame_new(struct made *f, uint64_t *seed)
{
	static const uint16_t ids[] = {0, 7, 10, 20, 30, 4094};
	uint8_t octets[12 + TAGS * VLAN_TAG + FRAME] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
	unsigned at = 12;
	struct rte_mbuf *m;

	*f = (struct made){
		.count = (unsigned)lab_below(seed, TAGS + 1), .stripped = lab_below(seed, 3) == 0};
	f->stripped &= f->count > 0;
	for (unsigned i = 0; i < f->count; i++) {
		f->id[i] = ids[lab_below(seed, sizeof(ids) / sizeof(ids[0]))];
		if (i == 0 && f->stripped)
			continue;
		put_tag(octets + at, f->id[i], seed);
		at += VLAN_TAG;
	}
	put16(f->rest, 0x0800);
	for (unsigned i = 2; i < FRAME; i++)
		f->rest[i] = (uint8_t)lab_below(seed, 256);
	memcpy(octets + at, f->rest, FRAME);
	m = packet_new(octets, at + FRAME, f->stripped ? 4 : 0, 0);
	m->vlan_tci = f->stripped ? (uint16_t)(f->id[0] | lab_below(seed, 8) << 13) : 0;
	return m;
}

/* The frame has lost `gone` tags, and nothing else. */
static void
check_popped(const struct rte_mbuf *m, const struct made *f, unsigned gone)
{
	const uint8_t *p = rte_pktmbuf_mtod(m, const uint8_t *);
	unsigned tags = f->count - gone, at = 12;

	assert_int_equal(m->pkt_len, m->data_len);
	assert_int_equal(m->data_len, 12 + tags * VLAN_TAG + FRAME);
	assert_false(m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED);
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(p[i], i + 1);
	for (unsigned i = 0; i < tags; i++, at += VLAN_TAG)
		assert_int_equal((p[at + 2] & 15) * 256u + p[at + 3], f->id[gone + i]);
	assert_memory_equal(p + at, f->rest, FRAME);
}

static void
add_children(struct worker *w)
{
	struct worker_ports *next = &w->next_ports;

	for (unsigned i = 0; i < CHILDREN; i++) {
		next->tx[FIRST_CHILD + i].vlan = children[i].vlan;
		next->vlans.key[FIRST_CHILD + i].parent = children[i].parent;
		vlan_ports_add(next, (uint16_t)(FIRST_CHILD + i));
	}
	w->vlans = next->vlans;
}

static void
test_take(void **state)
{
	uint64_t seed = 5;
	unsigned taken[CHILDREN + 1] = {0};

	(void)state;
	rig_begin();
	memset(&worker->next_ports, 0, sizeof(worker->next_ports));
	add_children(worker);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct source s = {.port = (uint16_t)lab_below(&seed, 2)};
		unsigned n = 1 + (unsigned)lab_below(&seed, 16), left, order[CHILDREN] = {0};
		struct rte_mbuf *pkt[16], *all[16];
		struct made made[16];
		unsigned gone[16], child[16];
		uint16_t port;

		for (unsigned i = 0; i < n; i++) {
			pkt[i] = all[i] = frame_new(&made[i], &seed);
			child[i] = expected(&made[i], s.port, &gone[i]);
			taken[child[i]]++;
		}
		left = vlan_take(worker, &s, pkt, n);
		for (unsigned i = 0, k = 0; i < n; i++)
			if (child[i] == CHILDREN)
				assert_ptr_equal(pkt[k++], all[i]);
			else
				left++;
		assert_int_equal(left, n);
		while (worker->tagged.count > 0) {
			unsigned got = vlan_next(worker, pkt, &port), at = 0;

			assert_int_equal(order[port - FIRST_CHILD]++, 0); /* once for each port */
			for (unsigned i = 0; i < n; i++) {
				if (child[i] + FIRST_CHILD != port)
					continue;
				assert_ptr_equal(pkt[at++], all[i]);
				check_popped(all[i], &made[i], gone[i]);
			}
			assert_int_equal(at, got);
		}
		for (unsigned i = 0; i < n; i++)
			rte_pktmbuf_free(all[i]);
	}
	for (unsigned i = 0; i <= CHILDREN; i++)
		assert_true(taken[i] > 0);
	assert_int_equal(live, 0);
	rig_end();
}

static void
test_push(void **state)
{
	static const uint8_t want[2][8] = {
		{0x81, 0, 0, 10, 8, 0}, {0x88, 0xa8, 0, 20, 0x81, 0, 0, 7}};
	static const struct port_vlan vlan[2] = {{10, 0}, {20, 7}};

	(void)state;
	rig_begin();
	for (unsigned i = 0; i < 2; i++) {
		struct tx_buffer *t = &worker->tx[1];
		uint8_t octets[FRAME] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0};
		struct rte_mbuf *m = packet_new(octets, FRAME, 0, 0);
		struct rte_mbuf *full = packet_new(octets, FRAME, 0, 0);

		vlan_tags(vlan[i], t->tag, &t->tag_octets);
		full->data_off = 3; /* no room for a tag */
		tx_add(t, full);
		tx_add(t, m);
		vlan_push(worker, 1);
		assert_int_equal(t->count, 1);
		assert_ptr_equal(t->pkt[0], m);
		assert_int_equal(m->data_len, FRAME + 4 * (i + 1));
		assert_memory_equal(rte_pktmbuf_mtod(m, const uint8_t *), octets, 12);
		assert_memory_equal(
			rte_pktmbuf_mtod_offset(m, const uint8_t *, 12), want[i], i == 0 ? 6 : 8);
		t->count = 0;
		rte_pktmbuf_free(m);
	}
	assert_int_equal(worker->stats.drops[DROP_invariant], 2);
	assert_int_equal(live, 0);
	rig_end();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_push),
	};

	role_enter_main();
	role_enter_worker();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
