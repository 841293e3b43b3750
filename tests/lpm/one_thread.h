/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Marks tests with a single thread. ThreadSanitizer finds nothing there and takes ten times as
 * long, so such builds compile but skip the tests.
 */
#pragma once

#ifdef __SANITIZE_THREAD__
/* cmocka skips tests without a name */
#define one_thread_test_in(f, setup, teardown)                                                     \
	{                                                                                          \
		.test_func = (f), .setup_func = (setup), .teardown_func = (teardown)               \
	}
#else
#define one_thread_test_in(f, setup, teardown) cmocka_unit_test_setup_teardown(f, setup, teardown)
#endif
#define one_thread_test(f) one_thread_test_in(f, NULL, NULL)
