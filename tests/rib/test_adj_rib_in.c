/* SPDX-License-Identifier: BSD-3-Clause */
#include "rib/table/adj_rib_in.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static uint16_t
epoch_of(const struct adj_rib_in *a)
{
	return atomic_load(&a->epoch);
}

static void
test_epochs(void **state)
{
	struct adj_rib_in a;

	adj_rib_in_init(&a);
	assert_int_equal(epoch_of(&a), 0);
	assert_int_equal(adj_rib_in_open_epoch(&a), 1);
	assert_int_equal(epoch_of(&a), 1);
	atomic_store(&a.epoch, UINT16_MAX);
	assert_int_equal(adj_rib_in_open_epoch(&a), 0);
}

static void
test_refresh(void **state)
{
	struct adj_rib_in_counts c;
	struct adj_rib_in a;

	adj_rib_in_init(&a);
	assert_false(adj_rib_in_end_refresh(&a)); /* RFC 7313 4: without BoRR it is ignored */
	adj_rib_in_begin_refresh(&a);
	adj_rib_in_begin_refresh(&a); /* the newest BoRR counts */
	assert_int_equal(epoch_of(&a), 2);
	assert_true(adj_rib_in_end_refresh(&a)); /* a single EoRR closes all refreshes */
	assert_int_equal(epoch_of(&a), 2);
	assert_false(adj_rib_in_end_refresh(&a));
	adj_rib_in_counts_get(&a, &c);
	assert_int_equal(c.borr_received, 2);
	assert_int_equal(c.eorr_received, 1);
	assert_int_equal(c.eorr_ignored, 2);
	assert_int_equal(c.received, 0);
	assert_int_equal(c.accepted, 0);
	assert_int_equal(c.rejected_total, 0);
	assert_int_equal(c.stale_swept, 0);
}

/* Epochs are serial numbers: after any number of BoRR, the oldest path still compares as older. */
static void
test_epochs_stay_near(void **state)
{
	struct adj_rib_in a;

	adj_rib_in_init(&a);
	for (unsigned i = 0; i < 100000; i++)
		adj_rib_in_begin_refresh(&a);
	assert_int_equal(epoch_of(&a), ADJ_RIB_IN_EPOCHS);
	adj_rib_in_swept(&a, epoch_of(&a));
	adj_rib_in_begin_refresh(&a);
	assert_int_equal(epoch_of(&a), ADJ_RIB_IN_EPOCHS + 1);
}

/*
 * RFC 9494 4.2: losses in the long-lived phase sweep nothing, until the oldest path would no longer
 * compare as older.
 */
static void
test_long_lived_losses(void **state)
{
	struct adj_rib_in a;
	unsigned losses = 1;
	uint16_t below;

	adj_rib_in_init(&a);
	assert_false(adj_rib_in_retain(&a, true, &below));
	for (; !adj_rib_in_retain(&a, true, &below); losses++)
		adj_rib_in_up(&a, true);
	assert_int_equal(losses, ADJ_RIB_IN_EPOCHS / 2 + 1);
	adj_rib_in_swept(&a, below);
	assert_false(adj_rib_in_retain(&a, true, &below));
	assert_true(adj_rib_in_retain(&a, false, &below));
}

/* RFC 4724 4.2, RFC 7313 4 */
static void
test_restart(void **state)
{
	struct adj_rib_in a;
	struct adj_rib_in_counts c;
	uint16_t below;

	(void)state;
	adj_rib_in_init(&a);
	adj_rib_in_up(&a, true);
	adj_rib_in_begin_refresh(&a); /* before End-of-RIB */
	assert_false(adj_rib_in_end_refresh(&a));
	assert_false(adj_rib_in_end_of_rib(&a)); /* no path was retained */
	adj_rib_in_begin_refresh(&a);
	assert_false(adj_rib_in_retain(&a, false, &below));
	assert_int_equal(below, 2);
	assert_int_equal(a.epoch, 3);
	assert_false(adj_rib_in_end_refresh(&a)); /* the refresh ended with its session */
	adj_rib_in_up(&a, false);
	/* BoRR before End-of-RIB: End-of-RIB removes the retained paths */
	adj_rib_in_begin_refresh(&a);
	assert_true(adj_rib_in_retain(&a, false, &below)); /* second loss in a row */
	assert_int_equal(below, 4);
	adj_rib_in_up(&a, false);
	assert_true(adj_rib_in_end_of_rib(&a));
	assert_false(adj_rib_in_end_of_rib(&a));
	adj_rib_in_begin_refresh(&a);
	assert_true(adj_rib_in_timeout(&a));
	assert_false(adj_rib_in_timeout(&a));
	assert_false(adj_rib_in_retain(&a, false, &below));
	assert_true(adj_rib_in_timeout(&a)); /* the session did not come back */
	assert_false(adj_rib_in_timeout(&a));
	assert_false(adj_rib_in_retain(&a, false, &below));
	below = adj_rib_in_lost(&a);
	assert_int_equal(below, a.epoch);
	assert_false(adj_rib_in_timeout(&a));
	assert_false(adj_rib_in_retain(&a, false, &below));
	adj_rib_in_up(&a, true);
	assert_true(adj_rib_in_timeout(
		&a)); /* no path is retained any more; End-of-RIB is still to come */
	adj_rib_in_begin_refresh(&a);
	adj_rib_in_counts_get(&a, &c);
	assert_int_equal(c.borr_ignored, 3);
	assert_int_equal(c.borr_received, 2);
	assert_int_equal(c.eorr_ignored, 2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_epochs),
		cmocka_unit_test(test_refresh),
		cmocka_unit_test(test_long_lived_losses),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_epochs_stay_near),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
