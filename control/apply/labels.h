/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPLS labels of the VPN instances, one label for each instance. An instance keeps the label over
 * restarts: the file `labels.json` in the state directory is written (temporary file, fsync,
 * rename) before a new label is used. The thread of the disk writes one version at a time; main waits for at most LABELS_PATIENCE_NS,
 * and not at all for a disk that is slow already, or at work for an earlier call: then written() is called later. A released label rests for LABELS_REST_NS before a different
 * instance gets the label, because remote routers may still send packets with the label: a router
 * whose session ended before the withdrawal keeps a stale route for the restart time (RFC 4724 4.2).
 * A restart of keeld begins the rest anew.
 *
 * A broken file may have contained any label of the range in use. The broken file is kept as
 * `labels.broken-N`, and new labels come from the next range. An operator deletes the kept file
 * when no remote router uses the old labels.
 *
 * Main only. Times are monotonic.
 */
#pragma once

#include "lpm/base/base.h"

#include <stdbool.h>
#include <stdint.h>

/* The largest restart time of RFC 4724 (4,095 s), and a minute. */
#define LABELS_REST_NS UINT64_C(4155000000000)

#define LABELS_PATIENCE_NS 200000000u

struct disk;
struct labels;

/* Labels `first` to `last`, in `ranges` ranges of equal size. */
struct labels_config {
	const char *folder; /* lent for the life of the object, as is the disk */
	struct disk *disk;
	uint32_t first, last;
	unsigned ranges;
	/* Labels that a labels_take() could not give are on disk, and the next call gives them. May be NULL. */
	void (*written)(void *ctx);
	void *ctx;
};
/* The lower quarter of all labels; eight broken files leave no range. */
#define LABELS_CONFIG(folder, disk)                                                                \
	((struct labels_config){(folder), (disk), 16, 262143, 8, NULL, NULL})

/*
 * Reads the file. A label of the file belongs to the instance until labels_release() or
 * labels_release_unused(). 0; -ENOMEM. A broken file raises the alarm only (labels_alarm()).
 */
int labels_open(const struct labels_config *c, uint64_t now_ns, struct labels **out)
	RUNS_ON(role_main);
void labels_close(struct labels *l) RUNS_ON(role_main);
/*
 * The labels of the instances, from the file or an earlier call; for a new instance the lowest free
 * label. Writes the file at most once. 0; -ENOSPC: no label of the range is free; -EINPROGRESS: the file is being written, and written()
 * follows; different -errno: the file cannot be written. After an error instances with out[i] 0 have no label, and the caller tries again
 * later.
 */
int labels_take(struct labels *l, const char *const *names, unsigned count, uint64_t now_ns,
	uint32_t *out) RUNS_ON(role_main);
/* The instance has ended, and the label rests. The instance can take the label again at any time. */
void labels_release(struct labels *l, const char *name, uint64_t now_ns) RUNS_ON(role_main);
/* Writes the file after calls of labels_release(). */
void labels_store(struct labels *l) RUNS_ON(role_main);
/* After the start: releases labels of the file without a labels_take(). */
void labels_release_unused(struct labels *l, uint64_t now_ns) RUNS_ON(role_main);
/*
 * A fault for the operator: a broken file, a failed write, or no free label. False: no fault.
 */
#define LABELS_ALARM_MAX 320
bool labels_alarm(const struct labels *l, char text[static LABELS_ALARM_MAX]) RUNS_ON(role_main);
