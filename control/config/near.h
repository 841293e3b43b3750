/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds the key that a mistyped or foreign key means, for messages. Pure functions.
 *
 *	struct near n = near_begin("remote_as");
 *	near_consider(&n, "asn"); ...   each key that is allowed at this place
 *	n.found                         "asn", or "" where no key is near
 *
 * An allowed key is near when other daemons' configurations use the given word for it (a small table), when it is the given word with a suffix
 * ("hold": "hold_s"), or when the two differ by at most two letters (by one where the word has five letters or fewer).
 */
#pragma once

#define NEAR_KEY_MAX 64

struct near {
	char key[NEAR_KEY_MAX]; /* in lower case, with _ for - */
	char found[NEAR_KEY_MAX];
	unsigned distance; /* of `found` */
};

/* Where `key` has other characters than letters, digits and "_-.", nothing is near. */
struct near near_begin(const char *key);
void near_consider(struct near *n, const char *allowed);
