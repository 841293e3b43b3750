/* SPDX-License-Identifier: BSD-3-Clause */
#include "lpm/base/hash.h"
#include "lpm/base/inspect.h"
#include "lpm/base/prefix.h"

#include "tests/lpm/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static struct hash_key
key_random(struct rng *r)
{
	struct hash_key key;
	uint64_t w[sizeof(key) / 8];

	for (unsigned i = 0; i < sizeof(w) / sizeof(w[0]); i++)
		w[i] = rng_next(r);
	memcpy(&key, w, sizeof(key));
	return key;
}

/* Reference vectors: key 00 01 ... 0f, message 00 01 ... */
static void
long_inputs_use_siphash_1_3(void **state)
{
	static const struct {
		size_t len;
		uint64_t hash;
	} vectors[] = {{0, 0xabac0158050fc4dc}, {1, 0xc9f49bf37d57ca93}, {2, 0x82cb9b024dc7d44d},
		{7, 0xd3927d989bb11140}, {8, 0x369095118d299a8e}, {9, 0x25a48eb36c063de4}};
	struct hash_key before = hash_key, key = before;
	uint8_t message[16];

	(void)state;
	key.sip[0] = 0x0706050403020100;
	key.sip[1] = 0x0f0e0d0c0b0a0908;
	hash_key_set(&key);
	for (unsigned i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)i;
	for (unsigned i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		assert_int_equal(hash_sip(message, vectors[i].len), vectors[i].hash);
	hash_key_set(&before);
}

static void
drawn_keys_differ_in_each_word(void **state)
{
	struct hash_key a, b;
	uint64_t x[sizeof(a) / 8], y[sizeof(b) / 8];

	(void)state;
	assert_int_equal(hash_key_draw(&a), 0);
	assert_int_equal(hash_key_draw(&b), 0);
	memcpy(x, &a, sizeof(x));
	memcpy(y, &b, sizeof(y));
	for (unsigned i = 0; i < sizeof(x) / sizeof(x[0]); i++)
		assert_true(x[i] != y[i]);
}

#define KEYS 200000

/*
 * Two prefixes agree in the low 10 bits for one key in 1,024, and equally in the high 10 bits: 195
 * of 200,000 keys expected, with bounds of 7 standard deviations. The pairs are hard cases for
 * multiplication: one bit, the highest bit, the sign, both halves, the length.
 */
static void
collisions_depend_on_the_key(void **state)
{
	static const struct {
		const char *a, *b;
	} pairs[] = {{"10.0.0.0/24", "10.0.1.0/24"}, {"10.0.0.0/24", "10.0.0.0/25"},
		{"0.0.0.0/0", "128.0.0.0/1"}, {"1.2.3.4/32", "254.253.252.251/32"},
		{"2001:db8::/32", "2001:db8::/33"}, {"2001:db8::1/128", "2001:db8::8000:0:0:1/128"},
		{"2001:db8::/128", "2001:db8:0:1::1/128"}, {"::/128", "8000::8000:0:0:0/128"},
		{"2001:db8:1:2:3:4:5:6/128", "2001:db8:1:2:3:4:5:7/128"}};
	struct hash_key before = hash_key;
	struct rng r = rng_seeded(1);

	(void)state;
	for (unsigned i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		unsigned low = 0, high = 0;
		struct prefix a, b;

		assert_int_equal(prefix_parse(pairs[i].a, &a), 0);
		assert_int_equal(prefix_parse(pairs[i].b, &b), 0);
		for (unsigned k = 0; k < KEYS; k++) {
			struct hash_key key = key_random(&r);
			uint64_t differ;

			hash_key_set(&key);
			differ = prefix_hash(&a) ^ prefix_hash(&b);
			low += (differ & 1023) == 0;
			high += differ >> 54 == 0;
		}
		assert_in_range(low, 97, 293);
		assert_in_range(high, 97, 293);
	}
	hash_key_set(&before);
}

/*
 * Likewise for byte strings with one different bit at the start, in the middle or at the end, with
 * sizes around the steps of hash_bytes(); and for strings of zeros that differ in size only.
 */
static void
collisions_of_bytes_depend_on_the_key(void **state)
{
	static const size_t sizes[] = {1, 15, 16, 17, 92, 160, 255, 256, 257, 300};
	struct hash_key before = hash_key;
	struct rng r = rng_seeded(2);
	uint8_t a[301], b[301];

	(void)state;
	for (unsigned i = 0; i < 4 * sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t size = sizes[i / 4], at = i % 4 == 0 ? 0 : i % 4 == 1 ? size / 2 : size - 1;
		size_t b_size = i % 4 == 3 ? size + 1 : size;
		unsigned low = 0;

		memset(a, 0, sizeof(a));
		memset(b, 0, sizeof(b));
		if (b_size == size)
			b[at] = 0x80;
		for (unsigned k = 0; k < KEYS / 10; k++) {
			struct hash_key key = key_random(&r);

			hash_key_set(&key);
			low += ((hash_bytes(a, size) ^ hash_bytes(b, b_size)) & 127) == 0;
		}
		/* 156 of 20,000 expected; 7 standard deviations */
		assert_in_range(low, 69, 243);
	}
	hash_key_set(&before);
}

/* Each byte of the input counts, and no byte after the end. */
static void
all_bytes_are_hashed(void **state)
{
	uint8_t message[320] = {0};

	(void)state;
	for (size_t size = 0; size < 300; size++) {
		uint64_t h = hash_bytes(message, size);

		message[size] = 1;
		assert_int_equal(hash_bytes(message, size), h);
		message[size] = 0;
		for (size_t i = 0; i < size; i++) {
			message[i] = 1;
			assert_true(hash_bytes(message, size) != h);
			message[i] = 0;
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(long_inputs_use_siphash_1_3),
		cmocka_unit_test(drawn_keys_differ_in_each_word),
		cmocka_unit_test(collisions_depend_on_the_key),
		cmocka_unit_test(collisions_of_bytes_depend_on_the_key),
		cmocka_unit_test(all_bytes_are_hashed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
